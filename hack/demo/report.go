package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A summary contains the results of the demo.
type summary struct {
	handovers []handover
	frozen    freeze
	events    []lab.Event
	entries   []lab.Entry
	end       time.Time
}

// violations returns one message for each violation. It returns no messages if the demo
// succeeded.
func (s summary) violations() []string {
	violations := append(lab.JudgeOrder(s.entries), lab.JudgeWork(s.entries)...)
	violations = append(violations, s.leadership().Overlaps...)
	for _, e := range s.events {
		if e.Kind == lateWriteAccepted {
			violations = append(violations, e.Replica+" was frozen and lost its Lease, and the API server accepted a write of it after that")
		}
	}
	return violations
}

func (s summary) leadership() lab.Leadership {
	return lab.JudgeLeadership(lab.Spans(s.events, s.end), time.Time{}, time.Time{})
}

// String returns the report that the demo prints at the end.
func (s summary) String() string {
	var b strings.Builder
	s.writeHandovers(&b)
	l := s.leadership()
	fmt.Fprintf(&b, "\nNumber of leaders from the first election to the end (each replica was asked %d times a second):\n", time.Second/lab.SamplePeriod)
	fmt.Fprintf(&b, "  none   %6.2f s\n  one    %6.2f s\n  more   %6.2f s\n", l.None.Seconds(), l.One.Seconds(), l.More.Seconds())
	if s.frozen.replica != "" {
		s.writeFreeze(&b)
	}
	fmt.Fprintf(&b, "\nThe ledger has %d entries of %d terms.\n", len(s.entries), lab.Terms(s.entries))
	violations := s.violations()
	if len(violations) == 0 {
		fmt.Fprintf(&b, "No entry of an earlier term follows an entry of a later term, and no entry is missing.\n")
	}
	for _, violation := range violations {
		fmt.Fprintf(&b, "WRONG: %s\n", violation)
	}
	return b.String()
}

// writeHandovers writes the table of the handovers. The table has one line for the
// first election and one line for each fault.
func (s summary) writeHandovers(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "what happened\tleader\tterm\tnext leader\tterm\thandover took\ttime without an entry")
	for _, h := range s.handovers {
		from, term, silence := h.before.Replica, fmt.Sprint(h.before.Term), seconds(h.after.At.Sub(h.before.At))
		if from == "" {
			from, term, silence = "-", "-", "-"
		}
		took := seconds(h.after.At.Sub(h.at))
		if h.before.Term == h.after.Term {
			took = "none: kept its term"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", h.what, from, term, h.after.Replica, h.after.Term, took, silence)
	}
	_ = w.Flush() // ignore the error, because a strings.Builder returns none
}

// writeFreeze lists the events of the frozen replica after the freeze.
func (s summary) writeFreeze(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s was frozen for %s, with a LeaseDuration of %v. When it woke:\n",
		s.frozen.replica, seconds(s.frozen.to.Sub(s.frozen.from)), timing.LeaseDuration)
	var written, refused int
	for _, e := range s.events {
		since := e.At.Sub(s.frozen.to)
		if e.Replica != s.frozen.replica || since < 0 {
			continue
		}
		after := fmt.Sprintf("  after %.1f ms", since.Seconds()*1000)
		switch {
		case e.Kind == lab.Woke:
			fmt.Fprintf(b, "%s it %s\n", after, e.Detail)
		case e.Kind == lab.Failed && refused+written == 0:
			fmt.Fprintf(b, "%s its unanswered request failed: %s\n", after, e.Detail)
		case e.Kind == lateWriteRefused:
			fmt.Fprintf(b, "%s it bypassed its elector, and the API server refused its write:\n    %s\n", after, e.Detail)
		case e.Kind == lab.Ended && e.Term == s.frozen.term:
			fmt.Fprintf(b, "%s its work had stopped: %s\n", after, strings.TrimPrefix(e.Detail, "leaderelection: "))
		case e.Kind == lab.Appended && e.Term == s.frozen.term:
			written++
		case e.Kind == lab.Refused && e.Term == s.frozen.term:
			refused++
		}
	}
	fmt.Fprintf(b, "  entries that it still wrote in its old term: %d; entries that the API server refused: %d\n", written, refused)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
