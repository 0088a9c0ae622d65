package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// ErrNoAnswer means that a method of an Elector does not return.
var ErrNoAnswer = errors.New("leaderelection: the elector is stuck: its methods do not return: restart the process")

// answerTimeout is how long a monitor waits for the methods of its Electors.
const answerTimeout = 300 * time.Millisecond

// A Snapshot describes an Elector at one point in time.
type Snapshot[T any] struct {
	*Entry[T]
	Sample
	// Name describes the Elector. If the Leases of several Electors have the same name,
	// Name contains the API server. If that is also the same, Name contains the identity.
	Name string
	// Number is the result of Registry.Number.
	Number int
	// RunError is the error that Run returned. It is nil before Run has returned.
	RunError error
	// Replaced is true if Run returned ErrWorkStillRunning, and an Elector for the same
	// Lease has run since then. Only the work is then of interest.
	Replaced bool
}

// A Sample contains results of an Elector's methods that agree with each other. The zero
// Sample describes an Elector that was garbage collected.
type Sample struct {
	leaderelection.State
	// ValidFor, LastContact and Stuck are the results of the Elector's methods of these
	// names. Stuck is ErrNoAnswer if the methods do not return.
	ValidFor    time.Duration
	LastContact time.Time
	Stuck       error
}

// All returns a Snapshot of each Elector, ordered by Lease.
func (r *Registry[T]) All() []Snapshot[T] {
	r.mu.Lock()
	r.pruneLocked()
	all := make([]Snapshot[T], 0, len(r.entries))
	for _, e := range r.entries {
		all = append(all, Snapshot[T]{Entry: e, Number: e.number, RunError: e.err, Replaced: e.replaced})
	}
	r.mu.Unlock()
	setNames(all)
	setSamples(all)
	return all
}

// Read returns a new Sample of the Elector.
func (e *Entry[T]) Read() Sample {
	all := []Snapshot[T]{{Entry: e}}
	setSamples(all)
	return all[0].Sample
}

// setSamples sets the field Sample of each Snapshot.
func setSamples[T any](all []Snapshot[T]) {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	electors, answers := make([]*leaderelection.Elector, len(all)), make([]*answer, len(all))
	for i, s := range all {
		if e := s.elector.Value(); e != nil {
			electors[i], answers[i] = e, s.questions.ask(func() Sample { return sampleOf(e) })
		}
	}
	for i, e := range electors {
		if e == nil {
			continue
		}
		select {
		case <-answers[i].done:
			all[i].Sample = answers[i].sample
		case <-ctx.Done():
			all[i].Sample = sampleWithoutLock(e)
		}
	}
}

// sampleOf returns a Sample of e. If leadership ends during the call, the Sample shows
// that e does not lead.
func sampleOf(e *leaderelection.Elector) Sample {
	s := Sample{State: e.State(), LastContact: e.LastContact(), Stuck: e.Stuck()}
	if s.Leading {
		s.ValidFor = e.ValidFor()
	}
	if s.ValidFor == 0 {
		s.Leading, s.Term = false, leaderelection.Term{}
	}
	return s
}

// sampleWithoutLock returns a Sample of an Elector whose mutex is locked for ever.
func sampleWithoutLock(e *leaderelection.Elector) Sample {
	valid := e.ValidFor()
	state := leaderelection.State{Running: true, Leading: valid > 0, Leader: e.GetLeader()}
	return Sample{State: state, ValidFor: valid, LastContact: e.LastContact(), Stuck: ErrNoAnswer}
}

// questions ensures that at most one goroutine waits for the methods of an Elector.
type questions struct {
	mu      sync.Mutex
	pending *answer
}

type answer struct {
	done   chan struct{} // closed when sample is set
	sample Sample
}

// ask calls read in a new goroutine. If an earlier call of read has not returned, ask
// returns the answer of the earlier call.
func (q *questions) ask(read func() Sample) *answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.pending == nil {
		a := &answer{done: make(chan struct{})}
		q.pending = a
		go func() {
			a.sample = read()
			q.mu.Lock()
			defer q.mu.Unlock()
			q.pending = nil
			close(a.done)
		}()
	}
	return q.pending
}

// setNames sets the field Name of each Snapshot to the shortest name that no other
// Snapshot has.
func setNames[T any](all []Snapshot[T]) {
	const longest = 2
	for detail := 0; detail <= longest; detail++ {
		count := map[string]int{}
		for _, s := range all {
			count[s.nameWith(detail)]++
		}
		for i, s := range all {
			if name := s.nameWith(detail); s.Name == "" && (count[name] == 1 || detail == longest) {
				all[i].Name = name
			}
		}
	}
}

// nameWith returns a name of the entry. The name contains the API server if detail is at
// least 1, and the identity if detail is 2.
func (e *Entry[T]) nameWith(detail int) string {
	c := &e.Config
	name := "Lease " + c.LeaseNamespace + "/" + c.LeaseName
	if !c.Enabled {
		name = "election that is not enabled"
	}
	if detail > 0 {
		switch {
		case c.Enabled:
			name += " on " + cmp.Or(e.Lease.Server, "an unknown API server")
		case c.LeaseName != "":
			name += " (" + c.LeaseNamespace + "/" + c.LeaseName + ")"
		}
	}
	if detail > 1 {
		name += fmt.Sprintf(", identity %q", c.Identity)
	}
	return name
}
