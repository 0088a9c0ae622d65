// Package spawn runs replicas as processes of their own: the running program is
// started again, so that the demo, the benchmark and tests need no second binary.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// A Spec says how to start this program again.
type Spec struct {
	// Args are its arguments, without its name.
	Args []string
	// Env are variables beside those of this process, as key=value.
	Env []string
	// Logs receives what it writes to standard error.
	Logs io.Writer
	// Read is given its standard output, and reads to the end of it.
	Read func(io.Reader) error
	// Ended is called when it is gone, after Read has returned.
	Ended func(state string)
}

// A Process is one replica as an operating-system process.
type Process struct {
	cmd  *exec.Cmd
	gone chan struct{}
	err  error
}

// Start starts this program again. The process does not outlive this one, if it
// uses Context.
func Start(spec Spec) (*Process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: exec.Command(program, spec.Args...), gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), spec.Env...)
	p.cmd.Stderr, p.cmd.SysProcAttr = spec.Logs, ownGroup()
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// Nothing is written to it: it ends when we do, and then so does the process.
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
		err = spec.Read(stdout)
		p.err = errors.Join(err, p.cmd.Wait())
		spec.Ended(p.cmd.ProcessState.String())
	}()
	return p, <-started
}

// ID is the process's number.
func (p *Process) ID() int { return p.cmd.Process.Pid }

// Gone is closed when the process has exited and all that it printed was read.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err is how it ended; ask once Gone is closed.
func (p *Process) Err() error { return p.err }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("%v to process %d: %w", s, p.ID(), err)
	}
	return nil
}

// Kill ends the process and waits until it is gone, frozen or not.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// Context is for the process that was started: it ends when the process is asked
// to stop with SIGTERM, or when the one that started it is gone.
func Context() (ctx context.Context, stop context.CancelFunc) {
	ctx, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	ctx, orphaned := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends when the starter does
		orphaned()
	}()
	return ctx, func() { orphaned(); forget() }
}
