//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A kind is the event that a report is about.
type kind string

const (
	started kind = "started" // the process has started
	began   kind = "began"   // the work begins
	ended   kind = "ended"   // the work has ended
)

// A report is what an operator sends to the referee. All processes read the same clock,
// because they run on one machine.
type report struct {
	Namespace, Pod, UID string
	Started             time.Time // when the process started
	Kind                kind
	At                  time.Time
}

// A work is a time interval in which one process worked.
type work struct {
	process report    // the process; its kind and time have no meaning
	from    time.Time // the first beat
	to      time.Time // the end of the work or of the process; zero if the process works
}

func (w work) name() string { return w.process.Pod + " " + w.process.Started.Format("05.000") }

// A referee records when the processes of each namespace work.
type referee struct {
	listener net.Listener

	mu    sync.Mutex
	works map[string][]*work // by namespace, in the order of their reports
}

func newReferee(l net.Listener) *referee {
	r := &referee{listener: l, works: map[string][]*work{}}
	go func() {
		for {
			connection, err := l.Accept()
			if err != nil {
				return // the listener is closed
			}
			go r.read(connection)
		}
	}()
	return r
}

// read reads the reports of one process until it ends.
func (r *referee) read(connection net.Conn) {
	defer func() { _ = connection.Close() }()
	var current *work
	for decoder := json.NewDecoder(connection); ; {
		var rep report
		err := decoder.Decode(&rep)
		at := time.Now()
		r.mu.Lock()
		switch {
		case err != nil:
			if current != nil {
				current.to = at
			}
			r.mu.Unlock()
			return
		case rep.Kind == began:
			current = &work{process: rep, from: rep.At}
			r.works[rep.Namespace] = append(r.works[rep.Namespace], current)
		case rep.Kind == ended && current != nil:
			current.to, current = rep.At, nil
		}
		r.mu.Unlock()
	}
}

// since returns the works in a namespace that had not ended at the time t.
func (r *referee) since(namespace string, t time.Time) []work {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []work
	for _, w := range r.works[namespace] {
		if w.to.IsZero() || !w.to.Before(t) {
			all = append(all, *w)
		}
	}
	slices.SortStableFunc(all, func(a, b work) int { return a.from.Compare(b.from) })
	return all
}

// An outcome is what one repetition of a scenario yields for one election.
type outcome struct {
	handovers int           // how often another process continued the work
	idle      time.Duration // the time without work at the handovers
	start     time.Duration // from the start of the last process that took over to its work; zero without a handover
	overlap   time.Duration // the time in which more than one process worked
}

// judge returns the outcome of the works since a time. The works must be ordered by their
// beginning. A work that has not ended counts until now.
func judge(works []work, since, now time.Time) (o outcome) {
	var spans []lab.Span
	var last lab.Span // the span with the latest end so far
	for _, w := range works {
		span := lab.Span{Replica: w.name(), From: w.from, To: w.to}
		if w.to.IsZero() {
			span.To = now
		}
		if len(spans) > 0 && span.Replica != spans[len(spans)-1].Replica {
			o.handovers++
			o.idle += max(0, span.From.Sub(last.To))
			o.start = w.from.Sub(w.process.Started)
		}
		spans = append(spans, span)
		if span.To.After(last.To) {
			last = span
		}
	}
	if len(spans) > 0 {
		o.overlap = lab.JudgeLeadership(spans, since, now).More
	}
	return o
}

// timeline describes the works, one a line, for the message about an overlap.
func timeline(works []work) (text string) {
	for _, w := range works {
		end := "works"
		if !w.to.IsZero() {
			end = w.to.Format("15:04:05.000000")
		}
		text += fmt.Sprintf("  %s to %-15s %s\n", w.from.Format("15:04:05.000000"), end, w.name())
	}
	return text
}
