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
// election. That election wins when the Elector leads. It never loses, because
// electedManager handles the loss of the Lease. The gate sends no requests to the API
// server.
type gate struct {
	identity, description string

	asked  chan struct{} // closed by the first Get, when the caches have synced and the inner Manager is ready to lead
	opened chan struct{} // closed by open; never closed if shut was called before open

	term atomic.Pointer[context.Context] // the context of the term in which the gate was opened; nil before that

	mu      sync.Mutex
	shutOff bool // true if shut was called, so controller-runtime's election can no longer win
	entered bool // true if controller-runtime's election has won
	record  resourcelock.LeaderElectionRecord
	ask     sync.Once
}

var _ resourcelock.Interface = (*gate)(nil)

func newGate(identity, description string) *gate {
	return &gate{identity: identity, description: description, asked: make(chan struct{}), opened: make(chan struct{})}
}

// open makes controller-runtime's election win. ctx is the context of the Elector's
// term. open returns false if the gate was opened or shut before.
func (g *gate) open(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff || !g.term.CompareAndSwap(nil, &ctx) {
		return false
	}
	close(g.opened)
	return true
}

// shut prevents controller-runtime's election from winning. It reports whether the gate
// was opened before. Call shut before the context of the inner Manager is cancelled.
// Otherwise the election could still win and start Runnables during the shutdown.
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

// value returns the value for key in the context of the term, or nil if the gate was
// not opened.
func (g *gate) value(key any) any {
	if term := g.term.Load(); term != nil {
		return (*term).Value(key)
	}
	return nil
}

// Get blocks until the gate is opened. If Create was not called yet, Get then returns a
// "not found" error. Otherwise it returns the record that was written last.
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

// Create records that controller-runtime's election has won. It fails if the gate was
// shut.
func (g *gate) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff && !g.entered {
		return errGateShut
	}
	g.entered, g.record = true, record
	return nil
}

// Update always succeeds after Create, even if the gate was shut. If Update failed
// while the Manager stops, controller-runtime's election would be lost, and the Manager
// would skip the grace period.
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
