package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// process is one replica as an operating-system process.
type process struct {
	identity string
	cmd      *exec.Cmd
	gone     chan struct{}
	err      error // how it ended; read it after gone is closed
}

// spawn starts a replica of this very program. Events go to hear, in order; the
// last one, when the process is gone, says so.
func spawn(identity string, args []string, logs io.Writer, hear func(event)) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{identity: identity, cmd: exec.Command(program, args...), gone: make(chan struct{})}
	p.cmd.Stderr, p.cmd.SysProcAttr = logs, ownGroup()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Nothing is written to it: it ends when we do, and then so does the replica.
	if _, err := p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// Linux kills the child when the thread that started it ends.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(p.gone)
		err = readEvents(stdout, hear)
		p.err = errors.Join(err, p.cmd.Wait())
		hear(event{At: time.Now(), Replica: identity, Kind: exited, Detail: p.cmd.ProcessState.String()})
	}()
	return p, <-started
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%v to %s: %w", s, p.identity, err)
	}
	return nil
}

// kill ends the process and waits until it is gone, frozen or not.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// logbook receives what the replicas log, and keeps the end of it for the
// message of a failure.
type logbook struct {
	mu  sync.Mutex
	to  io.Writer // nil: nowhere
	end []byte
}

const logbookSize = 4 << 10

// Write implements io.Writer.
func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end = append(l.end, p...)
	l.end = l.end[max(0, len(l.end)-logbookSize):]
	if l.to == nil {
		return len(p), nil
	}
	return l.to.Write(p)
}

// String is the end of the log.
func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.end)
}
