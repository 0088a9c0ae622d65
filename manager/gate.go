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

// A gate is the lock that controller-runtime's own election is given. It lets
// that election win when our Elector leads, and never lose: what follows on a
// loss is ours to do. Nothing of it reaches an API server.
type gate struct {
	identity, description string

	asked  chan struct{} // closed at the first Get: caches have synced, the Manager is ready to lead
	opened chan struct{} // closed when it is opened; if it is shut before, never

	term atomic.Pointer[context.Context] // the work's context of the term it was opened for

	mu      sync.Mutex
	shutOff bool // it will not be opened any more, and nobody enters
	entered bool // controller-runtime's election was won
	record  resourcelock.LeaderElectionRecord
	ask     sync.Once
}

var _ resourcelock.Interface = (*gate)(nil)

func newGate(identity, description string) *gate {
	return &gate{identity: identity, description: description, asked: make(chan struct{}), opened: make(chan struct{})}
}

// open lets controller-runtime's election win, in the term of ctx, and reports
// whether it did. It does so once, and not after shut.
func (g *gate) open(ctx context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff || !g.term.CompareAndSwap(nil, &ctx) {
		return false
	}
	close(g.opened)
	return true
}

// shut keeps the election from being won from now on, and reports whether the
// gate had been opened. It must be called before the Manager is told to stop: an
// election that is won after that starts Runnables in the midst of the shutdown.
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

// value looks a key up in the context of the term, if there is one.
func (g *gate) value(key any) any {
	if term := g.term.Load(); term != nil {
		return (*term).Value(key)
	}
	return nil
}

// Get blocks until our Elector leads. It then says that nobody holds the lock,
// and once it was taken that we do.
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

// Create is how controller-runtime's election is won.
func (g *gate) Create(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shutOff && !g.entered {
		return errGateShut
	}
	g.entered, g.record = true, record
	return nil
}

// Update renews. It always succeeds: an election that is lost while the Manager
// stops would have it skip the grace period.
func (g *gate) Update(_ context.Context, record resourcelock.LeaderElectionRecord) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.entered {
		return errGateShut
	}
	g.record = record
	return nil
}

// RecordEvent does nothing: our Elector records its own events.
func (g *gate) RecordEvent(string) {}

// Identity is that of our Elector.
func (g *gate) Identity() string { return g.identity }

// Describe is the Lease's namespace and name.
func (g *gate) Describe() string { return g.description }
