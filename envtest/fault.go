package envtest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// Mode says what becomes of a message that does not get through.
type Mode int

const (
	// Hang keeps the sender waiting until it gives up or the fault is healed.
	Hang Mode = iota
	// Refuse tells the sender at once, by an error of its connection: refused
	// where the request was not sent, reset where it was.
	Refuse
)

// String returns the constant's name.
func (m Mode) String() string {
	switch m {
	case Hang:
		return "Hang"
	case Refuse:
		return "Refuse"
	default:
		return fmt.Sprintf("Mode(%d)", int(m))
	}
}

// Forever delays until the fault is healed.
const Forever = time.Duration(math.MaxInt64)

// FaultOption narrows down what a fault hits.
type FaultOption func(*Fault)

// When limits a fault to the requests that match, as [Writes] and [Releases] do. The predicate must neither block nor call the Network.
func When(match func(Request) bool) FaultOption {
	return func(f *Fault) { f.matches = append(f.matches, match) }
}

// Verbs limits a fault to requests of these verbs.
func Verbs(verbs ...string) FaultOption {
	return When(func(r Request) bool { return slices.Contains(verbs, r.Verb) })
}

// Resource limits a fault to requests for a resource, such as "leases".
func Resource(resource string) FaultOption {
	return When(func(r Request) bool { return r.Resource == resource })
}

// Named limits a fault to requests for objects of that name.
func Named(name string) FaultOption {
	return When(func(r Request) bool { return r.Name == name })
}

// Once limits a fault to the first request that it meets, see Times.
func Once() FaultOption { return Times(1) }

// Times limits a fault to the first n requests that it meets, of those that it
// matches and that are made from now on. Without it a fault also hits what is
// under way.
func Times(n int) FaultOption {
	return func(f *Fault) { f.left, f.limited = n, true }
}

type faultKind int

const (
	cut faultKind = iota
	delayRequests
	delayReplies
	loseReplies
	arriveLate
	fail
	failReplies
	stallWatches
)

// Fault is something wrong with a [Network], until it is healed.
type Fault struct {
	network    *Network
	what       string
	kind       faultKind
	mode       Mode
	delay      time.Duration
	status     int
	retryAfter time.Duration
	matches    []func(Request) bool

	limited bool
	left    int // how many more requests it hits, if limited; guarded by the network's mutex

	healed chan struct{}
	struck chan struct{} // closed when the first request was hit
	once   sync.Once     // for healed

	mu    sync.Mutex
	first Request
	hits  int
}

// Struck is closed when the fault hit its first request: when that is held, was
// refused, or was applied by the server and its reply is held or lost. For
// StallWatches: when an event is held.
func (f *Fault) Struck() <-chan struct{} { return f.struck }

// Hits is how many requests it hit, or events for StallWatches.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// awaitLimit ends waits for what does not come. It is no measure of how long
// anything should take.
const awaitLimit = time.Minute

// Await waits for the first request that the fault hits, and returns it. If none
// comes for a minute, or the test's context ends, the test fails.
func (f *Fault) Await(tb testing.TB) Request {
	tb.Helper()
	limit := time.NewTimer(awaitLimit)
	defer limit.Stop()
	select {
	case <-f.struck:
	case <-tb.Context().Done():
		tb.Fatalf("the test ended before a request met the fault: %s", f.what)
	case <-limit.C:
		tb.Fatalf("no request met the fault for %v: %s", awaitLimit, f.what)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// Heal ends this fault. What it holds goes on its way. Healing twice does
// nothing.
func (f *Fault) Heal() {
	f.once.Do(func() {
		f.network.forget(f)
		close(f.healed)
	})
}

func (f *Fault) hit(r Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.hits == 0 {
		f.first = r
		close(f.struck)
	}
	f.hits++
}

func (f *Fault) match(r Request) bool {
	return !slices.ContainsFunc(f.matches, func(match func(Request) bool) bool { return !match(r) })
}
