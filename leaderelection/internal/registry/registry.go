// Package registry lists the Electors that a monitor shows. Here, a monitor is a
// metrics.Metrics, a health.Health or a status.Page.
//
// Each Elector has an entry of its own, even if several Electors use the same Option or
// campaign for the same Lease. The entry exists from New until Run returns nil, and
// again when Run is called again. If Run returns an error, the entry remains until an
// Elector for the same Lease runs. A Registry never keeps an Elector alive.
package registry

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A Lease identifies the Lease of an Elector among the Leases of all clusters. It is the
// zero Lease if the election is not enabled.
type Lease struct {
	// Server is the host and the path of the API server's URL. It is "" if the API
	// server is unknown.
	Server string
	// Namespace and Name are the namespace and the name of the Lease.
	Namespace, Name string
}

func leaseOf(e *leaderelection.Elector) Lease {
	c := e.Config()
	if !c.Enabled {
		return Lease{}
	}
	return Lease{ServerOf(e.APIServer()), c.LeaseNamespace, c.LeaseName}
}

// ServerOf returns the host and the path of the URL that Elector.APIServer returned. The
// path is necessary, because a proxy can serve several clusters at one host.
func ServerOf(apiServer string) string {
	u, err := url.Parse(apiServer)
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(u.Host+strings.TrimSuffix(u.EscapedPath(), "/"), "?")
}

// compare orders Leases by namespace, name and server.
func (l Lease) compare(o Lease) int {
	return cmp.Or(strings.Compare(l.Namespace, o.Namespace), strings.Compare(l.Name, o.Name), strings.Compare(l.Server, o.Server))
}

// A Registry lists Electors. T is the type of the data that the monitor keeps for each
// Elector. All methods are safe for concurrent use. The zero Registry is empty.
type Registry[T any] struct {
	// If DropUnused is true, an Elector that never ran has no entry after it was garbage
	// collected. If it is false, the entry remains, because the program may have
	// forgotten to call Run.
	DropUnused bool

	mu      sync.Mutex
	entries []*Entry[T]
}

// An Entry describes one Elector.
type Entry[T any] struct {
	// Lease and Config describe the Elector.
	Lease  Lease
	Config leaderelection.Config
	// Data is what the monitor keeps for the Elector.
	Data T

	elector   weak.Pointer[leaderelection.Elector]
	questions questions

	// The mutex of the Registry guards the fields below.
	phase    phase
	err      error // the error that Run returned; nil unless the phase is ended
	replaced bool  // true if Run returned ErrWorkStillRunning, and an Elector for the same Lease has run since then
	number   int   // distinguishes the entries of one Lease; at least 1
}

// A phase describes whether the Elector of an Entry runs.
type phase int

const (
	created phase = iota // Run was not called
	running
	ended // Run has returned an error
)

// Option returns an option for leaderelection.New. The option adds the new Elector to r.
// It calls newTrace with the Elector's Entry, and makes the Elector call the functions of
// the resulting Trace, except RunEnded. newTrace may set the field Data of the Entry.
func (r *Registry[T]) Option(newTrace func(*Entry[T]) leaderelection.Trace) leaderelection.Option {
	return both(leaderelection.WithCallbackMiddleware(keepAlive), leaderelection.WithTraceFor(func(e *leaderelection.Elector) leaderelection.Trace {
		entry := &Entry[T]{Lease: leaseOf(e), Config: e.Config(), elector: weak.Make(e)}
		if !r.add(entry) {
			return leaderelection.Trace{} // New received the option twice
		}
		trace := newTrace(entry)
		runStarted := trace.RunStarted
		trace.RunStarted = func() {
			r.runStarted(entry)
			if runStarted != nil {
				runStarted()
			}
		}
		trace.RunEnded = func(err error) { r.runEnded(entry, err) }
		return trace
	}))
}

// both returns an option that applies the options a and b.
func both[T any](a, b func(T)) func(T) {
	return func(options T) {
		a(options)
		b(options)
	}
}

// keepAlive returns callbacks that keep the Elector e alive while they run. Therefore an
// Elector that was garbage collected has no callbacks that still run.
func keepAlive(e *leaderelection.Elector, callbacks leaderelection.Callbacks) leaderelection.Callbacks {
	started, stopped := callbacks.OnStartedLeading, callbacks.OnStoppedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) {
		defer runtime.KeepAlive(e)
		if started != nil {
			started(ctx)
		}
	}
	callbacks.OnStoppedLeading = func() {
		defer runtime.KeepAlive(e)
		if stopped != nil {
			stopped()
		}
	}
	return callbacks
}

// add adds a new entry. It returns false if the Elector already has an entry.
func (r *Registry[T]) add(entry *Entry[T]) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pruneLocked()
	if slices.ContainsFunc(r.entries, func(o *Entry[T]) bool { return o.elector == entry.elector }) {
		return false
	}
	r.insertLocked(entry)
	return true
}

// runStarted records that Run was called. It removes the entries that entry replaces.
func (r *Registry[T]) runStarted(entry *Entry[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = slices.DeleteFunc(r.entries, func(o *Entry[T]) bool { return o == entry || o.isReplacedLocked(entry) })
	for _, o := range r.entries {
		o.replaced = o.replaced || o.phase == ended && o.hasLeaseOf(entry)
	}
	entry.phase, entry.err, entry.replaced = running, nil, false
	r.insertLocked(entry)
}

// isReplacedLocked reports whether the entry e can be removed when the Elector of the
// entry by runs. An Elector whose work may still run remains. An Elector that has not run
// also remains, unless it has the same identity or was garbage collected.
func (e *Entry[T]) isReplacedLocked(by *Entry[T]) bool {
	collected := e.elector.Value() == nil
	switch {
	case !e.hasLeaseOf(by) || e.phase == running:
		return false
	case e.phase == created:
		return collected || e.Config.Identity == by.Config.Identity
	default:
		return collected || !errors.Is(e.err, leaderelection.ErrWorkStillRunning)
	}
}

// hasLeaseOf reports whether e and o campaign for the same Lease. If the elections are
// not enabled, hasLeaseOf compares the names in the configurations.
func (e *Entry[T]) hasLeaseOf(o *Entry[T]) bool {
	return e.Lease == o.Lease && e.Config.LeaseNamespace == o.Config.LeaseNamespace && e.Config.LeaseName == o.Config.LeaseName
}

// runEnded records that Run is about to return err.
func (r *Registry[T]) runEnded(entry *Entry[T], err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.entries = slices.DeleteFunc(r.entries, func(o *Entry[T]) bool { return o == entry })
		return
	}
	entry.phase, entry.err = ended, err
}

// insertLocked inserts entry behind the other entries of the same Lease. It gives entry
// the lowest number that no other entry of the Lease has.
func (r *Registry[T]) insertLocked(entry *Entry[T]) {
	at, numbers := 0, map[int]bool{}
	for i, o := range r.entries {
		if order := o.Lease.compare(entry.Lease); order <= 0 {
			at = i + 1
			numbers[o.number] = order == 0 || numbers[o.number]
		}
	}
	entry.number = 1
	for numbers[entry.number] {
		entry.number++
	}
	r.entries = slices.Insert(r.entries, at, entry)
}

// pruneLocked removes entries of Electors that were garbage collected, if nothing has to
// be reported about these Electors.
func (r *Registry[T]) pruneLocked() {
	r.entries = slices.DeleteFunc(r.entries, func(e *Entry[T]) bool {
		return e.elector.Value() == nil && (e.replaced || r.DropUnused && e.phase == created)
	})
}

// Forget removes the entries for which the function match returns true. An Elector whose
// Run is called later has an entry again.
func (r *Registry[T]) Forget(match func(Lease) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = slices.DeleteFunc(r.entries, func(e *Entry[T]) bool { return match(e.Lease) })
}

// Number returns the number of the entry. It distinguishes the entry from the other
// entries for the same Lease. The number is 1 unless the process has several Electors for
// this Lease.
func (r *Registry[T]) Number(entry *Entry[T]) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return entry.number
}
