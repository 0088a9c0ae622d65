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

// errNoProc is returned on a system without /proc.
var errNoProc = errors.New("the CPU time of a process is read from /proc, which only Linux has")

// A procStat contains some fields of /proc/<pid>/stat.
type procStat struct {
	pid, parent int
	name        string
	cpu         time.Duration
}

// clockTick is the unit of the CPU times in /proc. The unit is 10 ms on all platforms
// that Go supports.
const clockTick = time.Second / 100

// parseStat parses the content of the file /proc/<pid>/stat. In this file, the name of
// the process is in parentheses. The name itself may also contain parentheses.
func parseStat(text string) (procStat, error) {
	open, shut := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return procStat{}, fmt.Errorf("not the stat file of a process: %q", text)
	}
	fields := strings.Fields(text[shut+1:]) // fields[0] is field 3 of the file
	const parent, userTime, systemTime = 4 - 3, 14 - 3, 15 - 3
	if len(fields) <= systemTime {
		return procStat{}, fmt.Errorf("not the stat file of a process: %q", text)
	}
	var numbers [4]int
	for i, field := range []string{strings.TrimSpace(text[:open]), fields[parent], fields[userTime], fields[systemTime]} {
		n, err := strconv.Atoi(field)
		if err != nil {
			return procStat{}, fmt.Errorf("not the stat file of a process: %w", err)
		}
		numbers[i] = n
	}
	return procStat{
		pid: numbers[0], parent: numbers[1], name: text[open+1 : shut],
		cpu: time.Duration(numbers[2]+numbers[3]) * clockTick,
	}, nil
}

// childNamed returns the process ID of the child process with the given name.
func childNamed(name string) (pid int, err error) {
	files, _ := filepath.Glob("/proc/[0-9]*/stat") // Glob returns an error only if the pattern is invalid
	if len(files) == 0 {
		return 0, errNoProc
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the process has exited
		}
		p, err := parseStat(string(bytes.TrimSpace(text)))
		if err == nil && p.parent == os.Getpid() && p.name == name {
			return p.pid, nil
		}
	}
	return 0, fmt.Errorf("this process has no child %q", name)
}

// cpuTime returns the CPU time that a process has used so far.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, err
	}
	p, err := parseStat(string(bytes.TrimSpace(text)))
	return p.cpu, err
}
