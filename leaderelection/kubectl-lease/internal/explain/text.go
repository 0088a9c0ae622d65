package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Summary returns the state of the Lease in one line. The line does not contain times
// that change with each renewal.
func (r Report) Summary() string {
	var b strings.Builder
	if r.ContactLost {
		fmt.Fprintf(&b, "no contact since %s; then: ", clock(*r.LastContact))
	}
	switch r.State {
	case Led, Overdue:
		fmt.Fprintf(&b, "%s leads", identity(r.Holder))
		if r.Acquired != nil {
			fmt.Fprintf(&b, " since %s", clock(*r.Acquired))
		}
		if r.State == Overdue {
			b.WriteString(", renewal overdue")
		}
		if r.Successor != "" {
			fmt.Fprintf(&b, ", successor %s", identity(r.Successor))
		}
	case Unconfirmed:
		fmt.Fprintf(&b, "%s holds it, and whether it leads is not known", identity(r.Holder))
	case Expired:
		fmt.Fprintf(&b, "nobody leads: %s has expired", identity(r.Holder))
	case Unknown:
		b.WriteString("unknown")
	default:
		fmt.Fprintf(&b, "nobody leads: the Lease is %s", r.State)
	}
	if !r.Certain && !r.ContactLost && r.State != Unconfirmed {
		b.WriteString(" (by its own clock)")
	}
	return b.String()
}

// String returns the Report as human-readable lines. Strings from the cluster, such as
// identities, are quoted if they contain characters that could move the cursor or break
// a line.
func (r Report) String() string {
	var l lines
	l.add("Lease", printable(r.Lease))
	l.add("State", r.Summary())
	r.addReason(&l)
	if r.Renewal != nil {
		l.add("Renewed", r.Renewal.String())
	}
	r.addClaim(&l)
	if r.ResourceVersion != "" {
		l.add("Writer", r.Writer.String())
	}
	for i, t := range r.Terms {
		label := ""
		if i == 0 {
			label = "Terms"
		}
		l.add(label, t.String())
	}
	for _, note := range r.Notes {
		l.add("Note", printable(note))
	}
	r.addRightsAndFences(&l)
	return l.text("")
}

func (r Report) addReason(l *lines) {
	if r.Reason != "" {
		l.add("Reason", printable(r.Reason))
	}
}

func (r Report) addClaim(l *lines) {
	if c := r.Claim; c != nil {
		l.add("Claimable", strings.TrimRight(when(r.Time, c.From)+", "+c.Note, ", "))
	}
	if r.EarlyClaim != nil {
		l.add("Early", printable(r.EarlyClaim.line()))
	}
}

func (r Report) addRightsAndFences(l *lines) {
	account := ""
	if r.Rights != nil {
		account = r.Rights.ServiceAccount
		for _, text := range r.Rights.lines() {
			l.add("Rights", printable(text))
		}
	}
	if r.Fences != nil {
		for _, text := range r.Fences.lines(account) {
			l.add("Fencing", printable(text))
		}
	}
}

// lines is a list of lines of text, each with a label.
type lines []string

func (l *lines) add(label, text string) { *l = append(*l, fmt.Sprintf("%-10s %s\n", label, text)) }

func (l lines) text(indent string) string {
	var b strings.Builder
	for _, line := range l {
		b.WriteString(indent + line)
	}
	return b.String()
}

// String returns the age of the last renewal, the LeaseDuration, and the longest
// interval between renewals.
func (r Renewal) String() string {
	text := fmt.Sprintf("not known; unchanged for at least %v", rounded(fromSeconds(r.UnchangedSeconds)))
	if r.AgeSeconds != nil {
		text = fmt.Sprintf("%v ago", rounded(fromSeconds(*r.AgeSeconds)))
	}
	text += fmt.Sprintf(", expires after %v", fromSeconds(r.LeaseDurationSeconds))
	if r.LongestIntervalSeconds > 0 {
		text += fmt.Sprintf(", longest interval %v", rounded(fromSeconds(r.LongestIntervalSeconds)))
	}
	return text
}

// String returns the term in one line. The line contains the beginning and the end of
// the term, the holder, and how the term ended.
func (t Term) String() string {
	text := clock(t.Acquired) + " to "
	switch {
	case t.Renewed != nil:
		text += clock(*t.Renewed)
	default:
		text += strings.Repeat(" ", len(clockLayout)-1) + "?"
	}
	return strings.TrimSpace(fmt.Sprintf("%s  %s %s", text, identity(t.Holder), t.End))
}

// String returns the kind of the elector. If the field manager is known, the string
// also contains the field manager.
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

const clockLayout = "2006-01-02 15:04:05Z"

func clock(t time.Time) string { return t.UTC().Format(clockLayout) }

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

// printable returns at most the first 1000 bytes of text. If the result contains a
// character that a terminal cannot show, printable quotes and escapes the result.
func printable(text string) string {
	text = cut(text, 1000)
	for _, r := range text {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			return strconv.QuoteToASCII(text)
		}
	}
	return text
}

// identity returns an identity for use in a sentence. It shortens an identity of more
// than 300 bytes. The longest name of a Pod, followed by a UUID, is shorter than this
// limit.
func identity(text string) string {
	whole := cut(text, 300)
	if text := printable(whole); text == whole {
		return text
	}
	return printable(cut(text, 60)) // quoting makes the text up to four times as long
}

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
