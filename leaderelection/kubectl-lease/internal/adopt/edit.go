package adopt

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"strings"
)

// An edit replaces a part of a text.
type edit struct {
	start, end int // offsets in bytes
	text       string
}

var errOverlap = errors.New("two changes concern the same line")

// apply returns the text with all edits. It returns errOverlap if edits overlap. Edits at
// the same offset are applied in their order in the slice.
func apply(text []byte, edits []edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortStableFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	var changed bytes.Buffer
	done := 0
	for _, e := range edits {
		if e.start < done {
			return nil, errOverlap
		}
		changed.Write(text[done:e.start])
		changed.WriteString(e.text)
		done = e.end
	}
	changed.Write(text[done:])
	return changed.Bytes(), nil
}

// lineBreak returns the line break that the text uses.
func lineBreak(text []byte) string {
	if bytes.Contains(text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}

// wholeLines returns an edit that inserts lines at an offset, which must be the begin of
// a line or the end of the text.
func wholeLines(text []byte, at int, lines ...string) edit {
	br := lineBreak(text)
	inserted := strings.Join(lines, br)
	if at == len(text) && at > 0 && text[at-1] != '\n' {
		return edit{at, at, br + inserted}
	}
	return edit{at, at, inserted + br}
}

// lineStart returns the offset at which the line of an offset begins.
func lineStart(text []byte, at int) int { return bytes.LastIndexByte(text[:at], '\n') + 1 }

// lineEnd returns the offset directly after the line of an offset.
func lineEnd(text []byte, at int) int {
	if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
		return at + i + 1
	}
	return len(text)
}
