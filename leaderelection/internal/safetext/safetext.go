// Package safetext escapes the characters of a text that could control a terminal. Holders
// and messages of API servers may contain such characters, and users read them with kubectl
// and curl.
package safetext

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Escape returns text in which an escape sequence replaces each character for which the
// function unsafe returns true.
func Escape(text string, unsafe func(rune) bool) string {
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

// IsUnsafe reports whether a character could control a terminal, or change the order or
// the meaning of the text around it. These are all characters that have no visible form:
// control characters, bidirectional overrides, and characters that Unicode does not
// define.
func IsUnsafe(r rune) bool { return !unicode.IsGraphic(r) }

// IsUnsafeInLines reports whether a character is unsafe in a text that has line breaks and
// tabs.
func IsUnsafeInLines(r rune) bool { return IsUnsafe(r) && r != '\n' && r != '\t' }
