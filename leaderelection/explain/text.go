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
	if a.Lost {
		fmt.Fprintf(&b, "not heard of since %s; then: ", clock(*a.Heard))
	}
	switch a.State {
	case Led, Late:
		fmt.Fprintf(&b, "%s leads", name(a.Leader))
		if a.Since != nil {
			fmt.Fprintf(&b, " since %s", clock(*a.Since))
		}
		if a.State == Late {
			b.WriteString(", renewal overdue")
		}
		if a.Heir != "" {
			fmt.Fprintf(&b, ", heir %s", name(a.Heir))
		}
	case Held:
		fmt.Fprintf(&b, "%s holds it, and whether it leads is not known", name(a.Leader))
	case Expired:
		fmt.Fprintf(&b, "nobody leads: %s has expired", name(a.Leader))
	case Unknown:
		b.WriteString("unknown")
	default:
		fmt.Fprintf(&b, "nobody leads: the Lease is %s", a.State)
	}
	if !a.Certain && !a.Lost && a.State != Held {
		b.WriteString(" (by its own clock)")
	}
	return b.String()
}

// String is the Answer for people, in some lines. Nothing in it that others wrote
// can move the cursor or break a line.
func (a Answer) String() string {
	var l lines
	l.add("Lease", printable(a.Lease))
	l.add("State", a.Summary())
	a.why(&l)
	if r := a.Renewal; r != nil {
		l.add("Renewed", r.String())
	}
	a.claimable(&l)
	if a.Version != "" {
		l.add("Writer", a.Writer.String())
	}
	for i, t := range a.Terms {
		label := ""
		if i == 0 {
			label = "Terms"
		}
		l.add(label, t.String())
	}
	for _, note := range a.Notes {
		l.add("Note", printable(note))
	}
	a.around(&l)
	return l.text("")
}

func (a Answer) why(l *lines) {
	if a.Why != "" {
		l.add("Why", printable(a.Why))
	}
}

func (a Answer) claimable(l *lines) {
	if c := a.Claim; c != nil {
		l.add("Claimable", strings.TrimRight(when(a.At, c.From)+", "+c.Note, ", "))
	}
}

func (a Answer) around(l *lines) {
	account := ""
	if a.Rights != nil {
		account = a.Rights.Account
		for _, text := range a.Rights.lines() {
			l.add("Rights", printable(text))
		}
	}
	if a.Fences != nil {
		for _, text := range a.Fences.lines(account) {
			l.add("Fencing", printable(text))
		}
	}
}

// lines are text with labels.
type lines []string

func (l *lines) add(label, text string) { *l = append(*l, fmt.Sprintf("%-10s %s\n", label, text)) }

func (l lines) text(indent string) string {
	var b strings.Builder
	for _, line := range l {
		b.WriteString(indent + line)
	}
	return b.String()
}

// String says when and how often.
func (r Renewal) String() string {
	text := fmt.Sprintf("not known; not changed for at least %v", rounded(fromSeconds(r.UnchangedSeconds)))
	if r.AgeSeconds != nil {
		text = fmt.Sprintf("%v ago", rounded(fromSeconds(*r.AgeSeconds)))
	}
	text += fmt.Sprintf(", lives for %v without", fromSeconds(r.LeaseDurationSeconds))
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
	return strings.TrimSpace(fmt.Sprintf("%s  %s %s", text, name(t.Leader), t.End))
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
	text = cut(text, 1000)
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}

// name is an identity as part of a sentence, which is to be read to its end: that of
// a Pod and a UUID is whole.
func name(identity string) string {
	whole := cut(identity, 300)
	if text := printable(whole); text == whole {
		return text
	}
	return printable(cut(identity, 60)) // quoted, a byte may take six
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
