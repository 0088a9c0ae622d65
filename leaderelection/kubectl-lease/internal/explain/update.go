package explain

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"
)

// Same reports whether the Reports r and other are equal. It ignores times that change
// with each renewal, and durations that grow while the Lease does not change.
func (r Report) Same(other Report) bool { return reflect.DeepEqual(r.stable(), other.stable()) }

// stable returns a copy of r without the times and durations that the method Same
// ignores.
func (r Report) stable() Report {
	r.Time, r.LastContact, r.ResourceVersion = time.Time{}, nil, ""
	r.Notes, r.stableNotes = r.comparableNotes(), nil
	if r.stableReason != "" {
		r.Reason, r.stableReason = r.stableReason, ""
	}
	if r.Renewal != nil {
		r.Renewal = &Renewal{LeaseDurationSeconds: r.Renewal.LeaseDurationSeconds}
	}
	if r.Claim != nil {
		r.Claim = &Claim{Note: r.Claim.Note}
	}
	if r.Rights != nil {
		r.Rights = ptr.To(*r.Rights)
		r.Rights.Time = time.Time{}
	}
	if r.Fences != nil {
		r.Fences = ptr.To(*r.Fences)
		r.Fences.Time = time.Time{}
	}
	return r
}

// Update returns one or more lines that describe how r differs from an earlier Report.
// before is the earlier Report. Update returns "" if r.Same(before) is
// true.
func (r Report) Update(before Report) string {
	if r.Same(before) {
		return ""
	}
	var l, current, previous lines // the lines about rights and fences in the Reports r and before
	r.addRightsAndFences(&current)
	before.addRightsAndFences(&previous)
	r.addReason(&l)
	if r.NobodyLeads() || r.State == Overdue {
		r.addClaim(&l)
	}
	if r.Summary() == before.Summary() {
		r.addDetails(before, &l)
	}
	for _, note := range r.notesMissingIn(before) {
		l.add("Note", printable(note))
	}
	for _, note := range before.notesMissingIn(r) {
		l.add("No longer", printable(note))
	}
	if !slices.Equal(current, previous) {
		l = append(l, current...)
	}
	at := r.Time.UTC().Format("15:04:05.000") + "  "
	return at + r.Summary() + "\n" + l.text(strings.Repeat(" ", len(at)))
}

// addDetails adds lines about the changes that the method Summary does not show.
func (r Report) addDetails(before Report, l *lines) {
	if r.Acquired != nil && (before.Acquired == nil || !r.Acquired.Equal(*before.Acquired)) {
		l.add("Acquired", r.Acquired.UTC().Format("2006-01-02 15:04:05.000000Z"))
	}
	if n, old := r.Renewal, before.Renewal; n != nil && (old == nil || n.LeaseDurationSeconds != old.LeaseDurationSeconds) {
		l.add("Renewed", n.String())
	}
	if r.LeaseTransitions != before.LeaseTransitions {
		l.add("Holders", fmt.Sprintf("the holder has changed %d times, as the holders counted", r.LeaseTransitions))
	}
	if r.Writer != before.Writer {
		l.add("Writer", r.Writer.String())
	}
	if n := len(r.Terms); n > 0 && !reflect.DeepEqual(r.Terms, before.Terms) {
		l.add("Terms", r.Terms[n-1].String())
	}
}

// withoutDurations formats a text like fmt.Sprintf, but sets every duration to 0.
func withoutDurations(format string, args ...any) string {
	args = slices.Clone(args)
	for i := range args {
		if _, is := args[i].(time.Duration); is {
			args[i] = time.Duration(0)
		}
	}
	return fmt.Sprintf(format, args...)
}

// comparableNotes returns the notes with every duration set to 0. For a Report that was
// decoded from JSON, it returns the unchanged notes, because stableNotes is not part of
// the JSON form.
func (r Report) comparableNotes() []string {
	if len(r.stableNotes) != len(r.Notes) {
		return r.Notes
	}
	return r.stableNotes
}

// notesMissingIn returns the notes of the Report r that are not in the Report other.
// Two notes count as equal if only their durations differ.
func (r Report) notesMissingIn(other Report) []string {
	var missing []string
	for i, note := range r.comparableNotes() {
		if !slices.Contains(other.comparableNotes(), note) {
			missing = append(missing, r.Notes[i])
		}
	}
	return missing
}
