package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Summary is the Answer in one line, without what changes with each renewal.
func (a Answer) Summary() string {
	var b strings.Builder
	switch a.State {
	case Led, Late:
		fmt.Fprintf(&b, "%s leads", printable(a.Leader))
		if a.Since != nil {
			fmt.Fprintf(&b, " since %s", clock(*a.Since))
		}
		if a.State == Late {
			b.WriteString(", renewal overdue")
		}
		if a.Heir != "" {
			fmt.Fprintf(&b, ", heir %s", printable(a.Heir))
		}
	case Lapsed:
		fmt.Fprintf(&b, "nobody leads: %s has lapsed", printable(a.Leader))
	case Unknown:
		b.WriteString("unknown")
	default:
		fmt.Fprintf(&b, "nobody leads: the Lease is %s", a.State)
	}
	if !a.Certain {
		b.WriteString(" (by its own clock)")
	}
	return b.String()
}

// String is the Answer for people, in some lines. Nothing in it that others wrote
// can move the cursor or break a line.
func (a Answer) String() string {
	var b strings.Builder
	line := func(label, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", label, fmt.Sprintf(format, args...))
	}
	line("Lease", "%s", printable(a.Lease))
	line("State", "%s", a.Summary())
	if a.Why != "" {
		line("Why", "%s", printable(a.Why))
	}
	if r := a.Renewal; r != nil {
		line("Renewed", "%s", r)
	}
	if c := a.Claim; c != nil {
		line("Claimable", "%s", strings.TrimRight(when(a.At, c.From)+", "+c.Note, ", "))
	}
	if a.Version != "" {
		line("Writer", "%s", a.Writer)
	}
	for i, t := range a.Terms {
		label := ""
		if i == 0 {
			label = "Terms"
		}
		line(label, "%s", t)
	}
	for _, note := range a.Notes {
		line("Note", "%s", printable(note))
	}
	if a.Rights != nil {
		for _, text := range a.Rights.lines() {
			line("Rights", "%s", printable(text))
		}
	}
	if a.Fences != nil {
		for _, text := range a.Fences.lines() {
			line("Fencing", "%s", printable(text))
		}
	}
	return b.String()
}

// String says when and how often.
func (r Renewal) String() string {
	text := fmt.Sprintf("%v ago, lives for %v without", rounded(fromSeconds(r.AgeSeconds)), fromSeconds(r.LeaseDurationSeconds))
	if r.EverySeconds > 0 {
		text += fmt.Sprintf(", renewed every %v at the slowest", rounded(fromSeconds(r.EverySeconds)))
	}
	return text
}

// String says who, from when to when, and how it ended.
func (t Term) String() string {
	text := clock(t.Acquired) + " to "
	switch {
	case t.Renewed != nil:
		text += clock(*t.Renewed)
	default:
		text += strings.Repeat(" ", len(stamp)-1) + "?"
	}
	return strings.TrimSpace(fmt.Sprintf("%s  %s %s", text, printable(t.Leader), t.End))
}

// String names the elector and the program.
func (w Writer) String() string {
	text := "another elector, such as client-go's or controller-runtime's"
	if w.Incumbent {
		text = "package leaderelection"
	}
	if w.FieldManager != "" {
		text += ", field manager " + printable(w.FieldManager)
	}
	return text
}

const stamp = "2006-01-02 15:04:05Z"

func clock(t time.Time) string { return t.UTC().Format(stamp) }

func when(now, t time.Time) string {
	switch d := t.Sub(now); {
	case d > 0:
		return fmt.Sprintf("from %s on, in %v", clock(t), rounded(d))
	case -d < time.Second:
		return "now"
	default:
		return fmt.Sprintf("now, since %v", rounded(-d))
	}
}

func fromSeconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// printable is text that a terminal shows as it is; text with anything else in it,
// quoted. It is cut where it is longer than anybody reads.
func printable(text string) string {
	const most = 1000
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}
