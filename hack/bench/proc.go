package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// errNoProc is reported where there is no /proc: CPU time cannot be had there.
var errNoProc = errors.New("CPU time of processes is read from /proc, as Linux has it")

// A process is one as /proc/<pid>/stat shows it.
type process struct {
	pid, parent int
	name        string
	cpu         time.Duration
}

// clockTick is what /proc counts in: USER_HZ, which is 100 wherever Go runs.
const clockTick = time.Second / 100

// parseStat reads the content of a stat file. The name stands in parentheses, and
// may itself have some.
func parseStat(text string) (process, error) {
	open, shut := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return process{}, fmt.Errorf("no stat of a process: %q", text)
	}
	rest := strings.Fields(text[shut+1:]) // from field 3 on
	const parent, userTime, systemTime = 4 - 3, 14 - 3, 15 - 3
	if len(rest) <= systemTime {
		return process{}, fmt.Errorf("no stat of a process: %q", text)
	}
	var numbers [4]int
	for i, field := range []string{strings.TrimSpace(text[:open]), rest[parent], rest[userTime], rest[systemTime]} {
		n, err := strconv.Atoi(field)
		if err != nil {
			return process{}, fmt.Errorf("no stat of a process: %w", err)
		}
		numbers[i] = n
	}
	return process{
		pid: numbers[0], parent: numbers[1], name: text[open+1 : shut],
		cpu: time.Duration(numbers[2]+numbers[3]) * clockTick,
	}, nil
}

// childNamed finds the process of that name that this one has started.
func childNamed(name string) (pid int, err error) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	if len(files) == 0 {
		return 0, errNoProc
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		p, err := parseStat(string(bytes.TrimSpace(text)))
		if err == nil && p.parent == os.Getpid() && p.name == name {
			return p.pid, nil
		}
	}
	return 0, fmt.Errorf("no process %q that was started here", name)
}

// cpuTime is what a process has used so far.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	p, err := parseStat(string(bytes.TrimSpace(text)))
	return p.cpu, err
}
