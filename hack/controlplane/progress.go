package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress prints messages about the progress of the command.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	every time.Duration // the time between two heartbeats
}

// printf prints one line.
func (p *progress) printf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "controlplane: "+format+"\n", args...)
}

// heartbeat periodically prints the elapsed time and the result of line,
// until stop is called. It prints nothing after stop has returned.
func (p *progress) heartbeat(line func() string) (stop func()) {
	done, gone := make(chan struct{}), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(gone)
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				p.printf("%4s  %s", time.Since(start).Round(time.Second), line())
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-gone })
}

// buildLog receives the output of "go build -v". The output has one line for each
// compiled package and one line for each downloaded module. buildLog counts these lines
// for the heartbeat. It keeps the last lines for an error message.
type buildLog struct {
	mu         sync.Mutex
	partial    []byte
	compiled   int
	downloaded int
	last       string
	tail       []string
}

const tailLines = 20

// Write implements io.Writer.
func (b *buildLog) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.partial = append(b.partial, p...)
	for {
		line, rest, found := bytes.Cut(b.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		b.partial = rest
		b.addLocked(string(line))
	}
}

func (b *buildLog) addLocked(line string) {
	if module, ok := strings.CutPrefix(line, "go: downloading "); ok {
		b.downloaded++
		b.last = "downloading " + module
		return
	}
	b.tail = append(b.tail, line)
	if len(b.tail) > tailLines {
		b.tail = b.tail[1:]
	}
	if !strings.ContainsAny(line, " :") { // the line is a package path, not a message
		b.compiled++
		b.last = "compiling " + line
	}
}

// status returns the progress of the build, as the text of a heartbeat.
func (b *buildLog) status() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := fmt.Sprintf("%d packages compiled", b.compiled)
	if b.downloaded > 0 {
		s = fmt.Sprintf("%d modules downloaded, %s", b.downloaded, s)
	}
	if b.last == "" {
		return s + ", others may be in Go's build cache"
	}
	return s + ", now " + b.last
}

// end returns the last lines of the build's output, for an error message.
func (b *buildLog) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(append(b.tail, string(b.partial)), "\n")
}
