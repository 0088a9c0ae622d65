package leaderelectiontest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// Mode is what happens to a message that does not get through.
type Mode int

const (
	// Hang keeps the sender waiting until its context ends or the fault is healed.
	Hang Mode = iota
	// Refuse fails at once with a connection error: "connection refused" if the
	// request was not sent, "connection reset" if it was.
	Refuse
)

// String returns the name of the constant.
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

// Forever is a delay that lasts until the fault is healed. Other delays run to
// their end even if the fault is healed meanwhile.
const Forever = time.Duration(math.MaxInt64)

// Fault is one injected fault of a [Network]. It lasts until it is healed.
type Fault struct {
	network    *Network
	what       string // the method that injected the fault, for messages
	kind       faultKind
	mode       Mode
	delay      time.Duration
	status     int
	retryAfter time.Duration
	matches    []func(Request) bool

	limited bool // by Times
	since   int  // if limited: the number of the first request that the fault may hit

	healed chan struct{}
	struck chan struct{} // closed when the fault hit its first request
	heal   sync.Once

	mu    sync.Mutex
	left  int // if limited: how many more requests the fault may hit
	hits  int
	first Request
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
	delayWatches
)

// FaultOption limits which requests a fault hits.
type FaultOption func(*Fault)

// When limits a fault to the requests that match. The sender's goroutine calls
// the predicate, so several goroutines may call it at the same time. For an
// open watch, the predicate is called whenever the watch has something to
// deliver.
func When(match func(Request) bool) FaultOption {
	return func(f *Fault) { f.matches = append(f.matches, match) }
}

// Verbs limits a fault to requests with one of these verbs.
func Verbs(verbs ...string) FaultOption {
	return When(func(r Request) bool { return slices.Contains(verbs, r.Verb) })
}

// Resource limits a fault to requests for a resource, such as "leases".
func Resource(resource string) FaultOption {
	return When(func(r Request) bool { return r.Resource == resource })
}

// Named limits a fault to requests for objects with this name.
func Named(name string) FaultOption {
	return When(func(r Request) bool { return r.Name == name })
}

// Once limits a fault to one request. See [Times].
func Once() FaultOption { return Times(1) }

// Times limits a fault to n requests: the first ones that it hits among those
// that match and that are sent from now on. Without this option a fault also
// hits requests that are under way and watches that are open.
func Times(n int) FaultOption {
	return func(f *Fault) { f.left, f.limited = n, true }
}

// Struck returns a channel that is closed when the fault hits its first
// request: when the request is held or refused, or when the server has applied
// it and the reply is held or lost. StallWatches strikes when an event is held.
func (f *Fault) Struck() <-chan struct{} { return f.struck }

// Hits returns how many requests the fault has hit. For StallWatches it is the
// number of times that the events of a watch were held.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// awaitTimeout ends a wait that would otherwise never end. It is not a bound on
// how long anything should take.
const awaitTimeout = time.Minute

// Await waits for the first request that the fault hits, and returns it. The
// test fails if the fault hits no request for a minute, or if the test's context ends.
func (f *Fault) Await(tb testing.TB) Request {
	tb.Helper()
	timeout := time.NewTimer(awaitTimeout)
	defer timeout.Stop()
	select {
	case <-f.struck:
	case <-tb.Context().Done():
		tb.Fatalf("the test ended before the fault %s hit a request", f.what)
	case <-timeout.C:
		tb.Fatalf("the fault %s hit no request for %v", f.what, awaitTimeout)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.first
}

// Heal ends this fault. Messages that hang because of it go on their way.
// Healing a fault twice has no effect.
func (f *Fault) Heal() {
	f.network.remove(f)
	f.release()
}

func (f *Fault) release() { f.heal.Do(func() { close(f.healed) }) }

func (f *Fault) isHealed() bool {
	select {
	case <-f.healed:
		return true
	default:
		return false
	}
}

// matching reports whether the fault applies to a request, without counting a
// hit. It calls the users' predicates, so no mutex may be held.
func (f *Fault) matching(request Request, number int) bool {
	if f.isHealed() || f.limited && (number < f.since || f.exhausted()) {
		return false
	}
	return !slices.ContainsFunc(f.matches, func(match func(Request) bool) bool { return !match(request) })
}

func (f *Fault) exhausted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.limited && f.left <= 0
}

// hit counts a hit. It returns false if the limit of [Times] has been reached.
func (f *Fault) hit(request Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limited && f.left <= 0 {
		return false
	}
	f.left--
	if f.hits == 0 {
		f.first = request
		close(f.struck)
	}
	f.hits++
	return true
}
