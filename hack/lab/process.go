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

// A Process is one replica as an operating-system process: this program, started
// again.
type Process struct {
	// Identity is the identity of the replica.
	Identity string

	cmd     *exec.Cmd
	mayExit atomic.Bool
	gone    chan struct{}
	err     error // of reading its output, and its exit error
}

// startProcess starts this program again with one more environment variable. Its
// log goes to logs. read receives its standard output and reads to the end of it.
// exited is called when the process has exited and read has returned. The process
// does not outlive this one if it uses processContext.
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
	// Nothing is written to the pipe. It closes when this process ends, and the
	// replica stops when its standard input ends.
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
		err = read(stdout)
		p.err = errors.Join(err, p.cmd.Wait())
		exited(p)
	}()
	return p, <-started
}

// ID returns the process ID.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Gone is closed when the process has exited and its output was read.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err returns how the process ended. Call it after Gone is closed.
func (p *Process) Err() error { return p.err }

// MayExit records that an exit of the process is expected from now on.
func (p *Process) MayExit() { p.mayExit.Store(true) }

// Signal sends a signal. After SIGTERM or SIGKILL an exit is expected.
func (p *Process) Signal(s syscall.Signal) error {
	if s == syscall.SIGTERM || s == syscall.SIGKILL {
		p.MayExit()
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%s: %v to process %d: %w", p.Identity, s, p.ID(), err)
	}
	return nil
}

// Await waits until the process has exited, for at most timeout.
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

// Kill kills the process, also if it is frozen, and waits until it has exited.
func (p *Process) Kill() {
	p.MayExit()
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// processContext returns the context of a replica's process. It ends when the
// process receives SIGTERM or when the process that started it has exited.
func processContext() (ctx context.Context, stop context.CancelFunc) {
	ctx, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	ctx, orphaned := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the starting process does
		orphaned()
	}()
	return ctx, func() { orphaned(); forget() }
}

// A LogTail receives the logs of processes and keeps the last part of them for
// error messages.
type LogTail struct {
	// To receives all logs; nil: they are discarded.
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

// String returns the last part of the logs.
func (t *LogTail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}
