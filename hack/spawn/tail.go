package spawn

import (
	"io"
	"sync"
)

// A Tail receives what processes log, and keeps the end of it for the message of
// a failure.
type Tail struct {
	// To is where all of it goes on to; nil: nowhere.
	To io.Writer

	mu  sync.Mutex
	end []byte
}

const tailSize = 4 << 10

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p...)
	t.end = t.end[max(0, len(t.end)-tailSize):]
	if t.To == nil {
		return len(p), nil
	}
	return t.To.Write(p)
}

// String is the end of the log.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.end)
}
