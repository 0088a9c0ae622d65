package explain

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Same reports whether an Answer says nothing but what the other one says, times
// apart that run though nothing happens or that each renewal sets anew.
func (a Answer) Same(other Answer) bool { return reflect.DeepEqual(a.still(), other.still()) }

// still is the Answer without those times.
func (a Answer) still() Answer {
	a.At, a.Heard, a.Version = time.Time{}, nil, ""
	a.Notes, a.steadyNotes = a.lasting(), nil
	if a.steadyWhy != "" {
		a.Why, a.steadyWhy = a.steadyWhy, ""
	}
	if a.Renewal != nil {
		a.Renewal = &Renewal{LeaseDurationSeconds: a.Renewal.LeaseDurationSeconds}
	}
	if a.Claim != nil {
		a.Claim = &Claim{Note: a.Claim.Note}
	}
	if a.Rights != nil {
		a.Rights = new(*a.Rights)
		a.Rights.At = time.Time{}
	}
	if a.Fences != nil {
		a.Fences = new(*a.Fences)
		a.Fences.At = time.Time{}
	}
	return a
}

// Update is for people who know the Answer before this one: what is new since then,
// in a line or some more. It is empty if they are the [Answer.Same].
func (a Answer) Update(before Answer) string {
	if a.Same(before) {
		return ""
	}
	var around, aroundBefore, l lines
	a.around(&around)
	before.around(&aroundBefore)
	a.why(&l)
	if a.Nobody() || a.State == Late {
		a.claimable(&l)
	}
	if a.Summary() == before.Summary() {
		a.unsummarized(before, &l)
	}
	for _, note := range a.notesBeyond(before) {
		l.add("Note", printable(note))
	}
	for _, note := range before.notesBeyond(a) {
		l.add("No longer", printable(note))
	}
	if !slices.Equal(around, aroundBefore) {
		l = append(l, around...)
	}
	at := a.At.UTC().Format("15:04:05.000") + "  "
	return at + a.Summary() + "\n" + l.text(strings.Repeat(" ", len(at)))
}

// unsummarized is what is new of what a summary does not tell.
func (a Answer) unsummarized(before Answer, l *lines) {
	if a.Since != nil && (before.Since == nil || !a.Since.Equal(*before.Since)) {
		l.add("Since", a.Since.UTC().Format("2006-01-02 15:04:05.000000Z"))
	}
	if r, old := a.Renewal, before.Renewal; r != nil && (old == nil || r.LeaseDurationSeconds != old.LeaseDurationSeconds) {
		l.add("Renewed", r.String())
	}
	if a.Transitions != before.Transitions {
		l.add("Holders", fmt.Sprintf("the holder has changed %d times, as the holders counted", a.Transitions))
	}
	if a.Writer != before.Writer {
		l.add("Writer", a.Writer.String())
	}
	if n := len(a.Terms); n > 0 && !reflect.DeepEqual(a.Terms, before.Terms) {
		l.add("Terms", a.Terms[n-1].String())
	}
}

// because says why.
func (a *Answer) because(format string, args ...any) {
	a.Why, a.steadyWhy = fmt.Sprintf(format, args...), timeless(format, args...)
}

func (a *Answer) note(format string, args ...any) {
	a.Notes = append(a.Notes, fmt.Sprintf(format, args...))
	a.steadyNotes = append(a.steadyNotes, timeless(format, args...))
}

// timeless is that text without durations, which change while nothing happens.
func timeless(format string, args ...any) string {
	args = slices.Clone(args)
	for i := range args {
		if _, runs := args[i].(time.Duration); runs {
			args[i] = time.Duration(0)
		}
	}
	return fmt.Sprintf(format, args...)
}

// lasting are the notes without what runs with the time, which only those know who
// have made the Answer.
func (a Answer) lasting() []string {
	if len(a.steadyNotes) != len(a.Notes) {
		return a.Notes
	}
	return a.steadyNotes
}

// notesBeyond are the notes that the other one does not have.
func (a Answer) notesBeyond(other Answer) []string {
	var found []string
	for i, note := range a.lasting() {
		if !slices.Contains(other.lasting(), note) {
			found = append(found, a.Notes[i])
		}
	}
	return found
}
