package envtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// stopTimeout is the maximum time in which a program must exit after SIGTERM.
const stopTimeout = 30 * time.Second

// process is a program that can be started several times with the same
// arguments.
type process struct {
	name         string
	path         string
	args         []string
	startTimeout time.Duration
	// ready returns nil if the program is ready.
	ready func(context.Context) error

	// Each of the methods start, stop and kill locks mu until it returns.
	// Therefore these methods run one at a time.
	mu      sync.Mutex
	current *incarnation // nil while the program is not running
}

// incarnation is one run of the program.
type incarnation struct {
	cmd    *exec.Cmd
	output *tail
	exited chan struct{}
	err    error // the error of the exited program; read it after exited is closed
}

// start starts the program and waits until the program is ready. If the program
// is already running, start has no effect.
func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runningLocked() {
		return nil
	}
	now, err := p.spawn()
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	if err := p.awaitReady(now); err != nil {
		_ = now.cmd.Process.Kill()
		<-now.exited
		return fmt.Errorf("%s did not become ready: %w; the end of its output:\n%s", p.name, err, now.output)
	}
	p.current = now
	return nil
}

func (p *process) spawn() (*incarnation, error) {
	now := &incarnation{
		cmd:    exec.Command(p.path, p.args...),
		output: &tail{},
		exited: make(chan struct{}),
	}
	now.cmd.Stdout, now.cmd.Stderr = now.output, now.output
	now.cmd.SysProcAttr = dieWithParent()
	now.cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go func() {
		// Linux kills the child when the thread that started the child ends.
		// Therefore this goroutine keeps its thread until the child has exited.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := now.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		now.err = now.cmd.Wait()
		close(now.exited)
	}()
	return now, <-started
}

func (p *process) awaitReady(now *incarnation) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.startTimeout)
	defer cancel()
	for {
		attempt, done := context.WithTimeout(ctx, time.Second)
		err := p.ready(attempt)
		done()
		if err == nil {
			return nil
		}
		select {
		case <-now.exited:
			return fmt.Errorf("it exited: %w", errors.Join(now.err, err))
		case <-ctx.Done():
			return fmt.Errorf("waited %v: %w", p.startTimeout, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop sends SIGTERM to the program and waits until the program has exited.
// After half of stopTimeout, stop sends SIGTERM again, because kube-apiserver
// and etcd then exit at once. If the program still runs after stopTimeout, stop
// kills the program and returns an error.
func (p *process) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.runningLocked() {
		return nil
	}
	now := p.current
	for range 2 {
		if err := now.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(fmt.Errorf("stopping %s: %w", p.name, err), p.killLocked())
		}
		select {
		case <-now.exited:
			p.current = nil
			return nil
		case <-time.After(stopTimeout / 2):
		}
	}
	return errors.Join(fmt.Errorf("%s had not stopped after %v and was killed; the end of its output:\n%s",
		p.name, stopTimeout, now.output), p.killLocked())
}

// kill ends the program at once, like a crash.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killLocked()
}

func (p *process) killLocked() error {
	if !p.runningLocked() {
		return nil
	}
	if err := p.current.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.current.exited
	p.current = nil
	return nil
}

func (p *process) isRunning() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runningLocked()
}

func (p *process) runningLocked() bool {
	if p.current == nil {
		return false
	}
	select {
	case <-p.current.exited: // the program has exited by itself
		p.current = nil
		return false
	default:
		return true
	}
}

// tail is an io.Writer that keeps only the last tailSize bytes.
type tail struct {
	mu  sync.Mutex
	end []byte
}

const tailSize = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, b...)
	if over := len(t.end) - tailSize; over > 0 {
		t.end = append(t.end[:0], t.end[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
