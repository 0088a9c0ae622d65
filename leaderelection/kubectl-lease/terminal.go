package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
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
	escaped := escape(string(text), func(r rune) bool { return isUnsafe(r) && r != '\n' && r != '\t' })
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.out, escaped); err != nil {
		return 0, err
	}
	return len(text), nil
}

// escape returns text in which an escape sequence replaces each character for which the
// function unsafe returns true.
func escape(text string, unsafe func(rune) bool) string {
	if !strings.ContainsFunc(text, unsafe) && utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(text[i:], string(r)):
			fmt.Fprintf(&b, `\x%02x`, text[i]) // a byte that is not UTF-8; JSON and YAML contain no such byte
		case unsafe(r):
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&b, `\u%04x`, unit)
			}
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// isUnsafe reports whether a character could control a terminal, or change the order or
// the meaning of the text around it. These are all characters that have no visible form:
// control characters, bidirectional overrides, and characters that Unicode does not
// define.
func isUnsafe(r rune) bool { return !unicode.IsGraphic(r) }

// message returns the text of err for the terminal. If the text has several lines, all
// but the first one are indented, because otherwise a line break in a message of an API
// server could begin a line that looks like the plugin's own.
func message(err error) string {
	text := escape(strings.TrimRight(err.Error(), "\n"), func(r rune) bool { return isUnsafe(r) && r != '\n' })
	return strings.ReplaceAll(text, "\n", "\n  ")
}
