package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress tells people what is going on.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	every time.Duration // between two heartbeats
}

// say prints one line.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintf(p.out, "controlplane: "+format+"\n", args...)
}

// heartbeat says what line returns, with the time taken so far, until stop is
// called. Stop returns when nothing more will be said.
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
				p.say("%4s  %s", time.Since(start).Round(time.Second), line())
			}
		}
	}()
	return sync.OnceFunc(func() { close(done); <-gone })
}

// buildLog reads the output of "go build -v": one line per package that is
// compiled, and one per module that is downloaded. It keeps what an error
// message and a heartbeat need.
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
	if !strings.ContainsAny(line, " :") { // a package path, not a message
		b.compiled++
		b.last = "compiling " + line
	}
}

// status is what a heartbeat says.
func (b *buildLog) status() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := fmt.Sprintf("%d packages compiled", b.compiled)
	if b.downloaded > 0 {
		s = fmt.Sprintf("%d modules downloaded, %s", b.downloaded, s)
	}
	if b.last == "" {
		return s + ", the rest may be in Go's cache"
	}
	return s + ", now " + b.last
}

// end is the last thing the build said, for an error message.
func (b *buildLog) end() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(append(b.tail, string(b.partial)), "\n")
}
