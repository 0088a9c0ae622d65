package manager

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A gate is a resource lock that uses no Lease and sends no requests. The inner Manager
// uses the gate in controller-runtime's own election. The inner Manager wins this
// election when the Elector becomes leader, and never loses this election.
type gate struct {
	identity, description string

	asked  chan struct{} // closed by the first call of Get, when the inner Manager is ready to lead
	opened chan struct{} // closed by open

	term atomic.Pointer[context.Context] // the context of the term; nil before the gate is opened

	mu      sync.Mutex
	shutOff bool // true after shut was called
	entered bool // true if the inner Manager has won its election
	record  resourcelock.LeaderElectionRecord
	ask     sync.Once
}

var _ resourcelock.Interface = (*gate)(nil)

func newGate(identity, description string) *gate {
	return &gate{identity: identity, description: description, asked: make(chan struct{}), opened: make(chan struct{})}
}

// open makes the inner Manager win its election. ctx is the context of
// the Elector's term. If the gate was already opened or shut, open has no effect and
// returns false.
func (g *gate) open(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff || !g.term.CompareAndSwap(nil, &ctx) {
		return false
	}
	close(g.opened)
	return true
}

// shut prevents the inner Manager from winning its election. It reports whether the
// gate was opened before. Call shut before you cancel the context of the inner Manager.
// No Runnables can then start during the shutdown.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shutOff = true
	return g.term.Load() != nil
}

func (g *gate) isShut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shutOff
}

// value returns the value for key in the context of the term. It returns nil
// before the gate is opened.
func (g *gate) value(key any) any {
	if term := g.term.Load(); term != nil {
		return (*term).Value(key)
	}
	return nil
}

// Get blocks until the gate is opened. It then returns the record that Create or Update
// stored last. If no record was stored, Get returns a "not found" error.
func (g *gate) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	g.ask.Do(func() { close(g.asked) })
	select {
	case <-g.opened:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.entered {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Group: "coordination.k8s.io", Resource: "leases"}, g.description)
	}
	record := g.record
	raw, err := json.Marshal(record)
	return &record, raw, err
}

// Create records that the inner Manager has won its election. It fails if the gate was
// already shut.
func (g *gate) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff && !g.entered {
		return errGateShut
	}
	g.entered, g.record = true, record
	return nil
}

// Update succeeds after a successful Create, even after the gate was shut. If Update
// failed during a stop, the inner Manager would skip the grace period.
func (g *gate) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.entered {
		return errGateShut
	}
	g.record = record
	return nil
}

// RecordEvent does nothing, because the Elector records its own events.
func (g *gate) RecordEvent(string) {}

// Identity returns the identity of the Elector.
func (g *gate) Identity() string { return g.identity }

// Describe returns the namespace and the name of the Lease.
func (g *gate) Describe() string { return g.description }
