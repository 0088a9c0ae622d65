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

// A gate is the resource lock that the inner Manager uses for controller-runtime's own
// election. The inner Manager wins this election when the Elector leads. It never loses
// this election, because electedManager handles the loss of the Lease. The gate sends
// no requests to the API server.
type gate struct {
	identity, description string

	asked  chan struct{} // closed by the first call of Get; the caches have then synced, and the inner Manager is ready to lead
	opened chan struct{} // closed by open; never closed if shut was called before open

	term atomic.Pointer[context.Context] // the context of the term that opened the gate; nil if no term has opened the gate

	mu      sync.Mutex
	shutOff bool // true if shut was called; the inner Manager can then no longer win its election
	entered bool // true if the inner Manager has won its election
	record  resourcelock.LeaderElectionRecord
	ask     sync.Once
}

var _ resourcelock.Interface = (*gate)(nil)

func newGate(identity, description string) *gate {
	return &gate{identity: identity, description: description, asked: make(chan struct{}), opened: make(chan struct{})}
}

// open makes the inner Manager win its election. ctx is the context of the Elector's
// term. open returns false and has no effect if the gate was opened or shut before.
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
// gate was opened before. Call shut before the context of the inner Manager is
// cancelled. Otherwise the inner Manager could still win its election and start
// Runnables during the shutdown.
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

// value returns the value for key in the context of the term. It returns nil if no term
// has opened the gate.
func (g *gate) value(key any) any {
	if term := g.term.Load(); term != nil {
		return (*term).Value(key)
	}
	return nil
}

// Get blocks until the gate is opened. It then returns the record of the last
// successful call of Create or Update. If there was no such call, Get returns a "not
// found" error.
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
// shut before.
func (g *gate) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff && !g.entered {
		return errGateShut
	}
	g.entered, g.record = true, record
	return nil
}

// Update succeeds after a successful Create, even if the gate was shut in the meantime.
// If Update failed while the Manager stops, the inner Manager would lose its election
// and skip the grace period.
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
