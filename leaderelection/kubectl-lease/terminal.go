package main

import (
	"io"
	"strings"
	"sync"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

// A terminal is a Writer that passes text on and escapes every character that could
// control a terminal. All output of the plugin goes through a terminal, because holders,
// field managers and messages of API servers may contain such characters. Each call of
// Write must end with a complete character.
//
// The escape sequences are those of JSON. In the strings of JSON and in double quotes of
// YAML they stand for the escaped characters, so the output remains valid.
type terminal struct {
	mu  sync.Mutex
	out io.Writer
}

// Write writes text, in which line breaks and tabs remain. It may be called from any
// goroutine.
func (t *terminal) Write(text []byte) (int, error) {
	escaped := safetext.Escape(string(text), safetext.IsUnsafeInLines)
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.out, escaped); err != nil {
		return 0, err
	}
	return len(text), nil
}

// message returns the text of err for the terminal. If the text has several lines, all
// but the first one are indented, because otherwise a line break in a message of an API
// server could begin a line that looks like the plugin's own.
func message(err error) string {
	text := safetext.Escape(strings.TrimRight(err.Error(), "\n"), func(r rune) bool { return safetext.IsUnsafe(r) && r != '\n' })
	return strings.ReplaceAll(text, "\n", "\n  ")
}
