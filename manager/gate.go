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

// A gate is the lock of controller-runtime's own election. That election wins when the
// Elector leads, and never loses, because electedManager handles a loss. The gate sends
// no requests.
type gate struct {
	identity, description string

	asked  chan struct{} // closed by the first Get: caches have synced, and the Manager is ready to lead
	opened chan struct{} // closed by open; never closed if shut was called before

	term atomic.Pointer[context.Context] // the context of the term that opened the gate

	mu      sync.Mutex
	shutOff bool // the gate cannot be opened or entered any more
	entered bool // controller-runtime's election has won
	record  resourcelock.LeaderElectionRecord
	ask     sync.Once
}

var _ resourcelock.Interface = (*gate)(nil)

func newGate(identity, description string) *gate {
	return &gate{identity: identity, description: description, asked: make(chan struct{}), opened: make(chan struct{})}
}

// open makes controller-runtime's election win in the term of ctx. It returns false if
// the gate was opened or shut before.
func (g *gate) open(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff || !g.term.CompareAndSwap(nil, &ctx) {
		return false
	}
	close(g.opened)
	return true
}

// shut prevents controller-runtime's election from winning. It returns whether the gate
// was opened before. Call it before the inner Manager's context is cancelled. Otherwise a
// late win starts Runnables during the shutdown.
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

// value returns a value of the term's context, or nil if there is no term.
func (g *gate) value(key any) any {
	if term := g.term.Load(); term != nil {
		return (*term).Value(key)
	}
	return nil
}

// Get blocks until the Elector leads. It then returns that the lock does not exist and,
// after Create, the created record.
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

// Create makes controller-runtime's election win.
func (g *gate) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff && !g.entered {
		return errGateShut
	}
	g.entered, g.record = true, record
	return nil
}

// Update always succeeds after Create. If the election were lost while the Manager
// stops, the Manager would skip the grace period.
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

// Describe returns the Lease's namespace and name.
func (g *gate) Describe() string { return g.description }
