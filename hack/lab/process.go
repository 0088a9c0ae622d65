package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A Process is a replica that runs as a process of the operating system. The process
// runs the same program as its parent process.
type Process struct {
	// Identity is the identity of the replica.
	Identity string

	cmd     *exec.Cmd
	mayExit atomic.Bool
	gone    chan struct{}
	err     error // the error with which the process ended; valid after gone is closed
}

// startProcess starts this program again as a child process. variable is
// an additional environment variable, in the form NAME=value. The child's standard
// error is written to the parameter logs. read must read the child's
// standard output until the end. exited is called after the child has
// exited.
func startProcess(identity, variable string, logs io.Writer, read func(io.Reader) error, exited func(p *Process)) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{Identity: identity, cmd: exec.Command(program), gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), variable)
	p.cmd.Stderr, p.cmd.SysProcAttr = logs, ownProcessGroup()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// This process writes no data to the child's standard input. When this process
	// ends, the standard input also ends. Then the child stops, see processContext.
	if _, err := p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		// With the setting Pdeathsig, Linux kills the child when the thread that
		// started the child ends. Therefore this goroutine keeps its thread until the
		// child has exited.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		defer close(p.gone)
		err = read(stdout)
		p.err = errors.Join(err, p.cmd.Wait())
		exited(p)
	}()
	return p, <-started
}

// ID returns the ID that the operating system assigned to the process.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Gone returns a channel that is closed after the process has exited and its output was
// read.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err returns the error with which the process ended, or nil. Call Err only after the
// channel that Gone returns is closed.
func (p *Process) Err() error { return p.err }

// MayExit marks the exit of the process as expected. Without a call of MayExit, the
// event Exited has the field Unexpected set to true.
func (p *Process) MayExit() { p.mayExit.Store(true) }

// Signal sends the signal s to the process. If s is SIGTERM or SIGKILL, Signal also
// calls MayExit.
func (p *Process) Signal(s syscall.Signal) error {
	if s == syscall.SIGTERM || s == syscall.SIGKILL {
		p.MayExit()
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %v to process %d: %w", p.Identity, s, p.ID(), err)
	}
	return nil
}

// Await waits until the process has exited. It returns an error if ctx is done or the
// timeout has expired before the process has exited.
func (p *Process) Await(ctx context.Context, timeout time.Duration) error {
	select {
	case <-p.gone:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(timeout):
		return fmt.Errorf("%s has not exited after %v", p.Identity, timeout)
	}
}

// Kill kills the process and waits until the process has exited. Kill also works if the
// process is frozen.
func (p *Process) Kill() {
	p.MayExit()
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// processContext returns the context for a replica that runs in this process. The
// context is cancelled when this process receives SIGTERM, or when the parent process
// has exited.
func processContext() (ctx context.Context, stop context.CancelFunc) {
	ctx, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	ctx, orphaned := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // Copy returns when the parent process has exited
		orphaned()
	}()
	return ctx, func() { orphaned(); forget() }
}

// A LogTail receives the log output of processes. It keeps the last 4 KiB of the output
// for error messages.
type LogTail struct {
	// To receives the complete log output. If To is nil, only the last 4 KiB are kept.
	To io.Writer

	mu   sync.Mutex
	last []byte
}

const logTailSize = 4 << 10

// Write implements io.Writer.
func (t *LogTail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	t.last = t.last[max(0, len(t.last)-logTailSize):]
	if t.To == nil {
		return len(p), nil
	}
	return t.To.Write(p)
}

// String returns the last 4 KiB of the log output.
func (t *LogTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
