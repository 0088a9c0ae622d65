package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// A summary is all that the report is made of.
type summary struct {
	handovers []handover
	frozen    wakening
	events    []event
	entries   []entry
	end       time.Time
}

// verdict lists what must not be; it is empty after a good demonstration.
func (s summary) verdict() []string {
	faults := judge(s.entries)
	if more := sum(s.leaders()[2:]); more > 0 {
		faults = append(faults, fmt.Sprintf("for %v more than one replica answered that it leads", more))
	}
	for _, e := range s.events {
		if e.Kind == tooLate {
			faults = append(faults, e.Replica+" was frozen, woke up deposed, and a write of it was accepted")
		}
	}
	return faults
}

func (s summary) leaders() []time.Duration { return leaderTimes(spans(s.events, s.end)) }

// String is the table and what follows it.
func (s summary) String() string {
	var b strings.Builder
	s.writeHandovers(&b)
	times := s.leaders()
	fmt.Fprintf(&b, "\nLeaders at any moment, from the first election to the end (each replica was asked %d times a second):\n", time.Second/askPeriod)
	fmt.Fprintf(&b, "  none   %6.2f s\n  one    %6.2f s\n  more   %6.2f s\n", times[0].Seconds(), times[1].Seconds(), sum(times[2:]).Seconds())
	if s.frozen.replica != "" {
		s.writeWakening(&b)
	}
	fmt.Fprintf(&b, "\nThe ledger has %d entries of %d terms.\n", len(s.entries), terms(s.entries))
	faults := s.verdict()
	if len(faults) == 0 {
		fmt.Fprintf(&b, "No entry of an earlier term follows one of a later term, and none is missing.\n")
	}
	for _, fault := range faults {
		fmt.Fprintf(&b, "WRONG: %s\n", fault)
	}
	return b.String()
}

// writeHandovers is the table: one line for each thing that was done to a leader.
func (s summary) writeHandovers(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 3, ' ', 0)
	_, _ = fmt.Fprintln(w, "what happened\tleader\tterm\tnext leader\tterm\thandover took\tnobody wrote for")
	for _, h := range s.handovers {
		from, term, silence := h.before.Replica, fmt.Sprint(h.before.Term), seconds(h.after.At.Sub(h.before.At))
		if from == "" {
			from, term, silence = "-", "-", "-"
		}
		took := seconds(h.after.At.Sub(h.struck))
		if h.before.Term == h.after.Term {
			took = "none: kept its term"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", h.what, from, term, h.after.Replica, h.after.Term, took, silence)
	}
	_ = w.Flush() // a strings.Builder takes everything
}

// writeWakening tells what the frozen leader did once it could.
func (s summary) writeWakening(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s was frozen for %s, with a lease of %v. When it woke:\n",
		s.frozen.replica, seconds(s.frozen.awake.Sub(s.frozen.frozen)), timing.LeaseDuration)
	var written, turnedAway int
	for _, e := range s.events {
		since := e.At.Sub(s.frozen.awake)
		if e.Replica != s.frozen.replica || since < 0 {
			continue
		}
		switch {
		case e.Kind == woke:
			fmt.Fprintf(b, "  after %s it %s\n", milliseconds(since), e.Detail)
		case e.Kind == failed && turnedAway+written == 0:
			fmt.Fprintf(b, "  after %s the request that had been under way failed: %s\n", milliseconds(since), e.Detail)
		case e.Kind == fencedOff:
			fmt.Fprintf(b, "  after %s it wrote past its elector, and the API server refused it:\n    %s\n", milliseconds(since), e.Detail)
		case e.Kind == ended && e.Term == s.frozen.term:
			fmt.Fprintf(b, "  after %s its work had stopped: %s\n", milliseconds(since), strings.TrimPrefix(e.Detail, "leaderelection: "))
		case e.Kind == appended && e.Term == s.frozen.term:
			written++
		case e.Kind == refused && e.Term == s.frozen.term:
			turnedAway++
		}
	}
	fmt.Fprintf(b, "  entries that it still wrote in its old term: %d; that it tried to write and were refused: %d\n", written, turnedAway)
}

func milliseconds(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }

func sum(times []time.Duration) time.Duration {
	var total time.Duration
	for _, d := range times {
		total += d
	}
	return total
}
