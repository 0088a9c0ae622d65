package leaderelectiontest

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

// Mode determines what happens to the sender of a request if a fault stops the
// request or its reply.
type Mode int

const (
	// Hang makes the sender wait until the context of the request is done or
	// the fault is healed.
	Hang Mode = iota
	// Refuse makes the request fail at once with a connection error. If the
	// fault stops the request, the error is "connection refused". If the fault
	// stops the reply, the error is "connection reset".
	Refuse
)

// String returns the name of the Mode, such as "Hang".
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

// Forever is a delay without an end. A request or reply with this delay waits
// until the fault is healed. With any other delay, the request or reply waits
// for the whole delay, even if the fault is healed earlier.
const Forever = time.Duration(math.MaxInt64)

// Fault is a fault that a test has injected into a [Network]. The fault lasts
// until it is healed.
type Fault struct {
	network    *Network
	what       string // describes the fault in messages, for example "Cut(Hang)"
	kind       faultKind
	mode       Mode
	delay      time.Duration
	status     int
	retryAfter time.Duration
	matches    []func(Request) bool

	limited bool // true if the option Times limits the fault
	since   int  // if limited is true, the number of the first request that the fault may hit

	healed chan struct{}
	struck chan struct{} // closed when the fault has hit its first request
	heal   sync.Once

	mu    sync.Mutex
	left  int // if limited is true, how many more requests the fault may hit
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

// FaultOption limits a fault to some of the requests.
type FaultOption func(*Fault)

// When limits a fault to the requests for which match returns true. Each sender
// calls match in its own goroutine. Therefore match must be safe for concurrent
// use. For an open watch, match is called each time the watch has events to
// deliver.
func When(match func(Request) bool) FaultOption {
	return func(f *Fault) { f.matches = append(f.matches, match) }
}

// Verbs limits a fault to requests with one of these verbs.
func Verbs(verbs ...string) FaultOption {
	return When(func(r Request) bool { return slices.Contains(verbs, r.Verb) })
}

// Resource limits a fault to requests for one resource, such as "leases".
func Resource(resource string) FaultOption {
	return When(func(r Request) bool { return r.Resource == resource })
}

// Named limits a fault to requests for objects with this name.
func Named(name string) FaultOption {
	return When(func(r Request) bool { return r.Name == name })
}

// Once limits a fault to one request. See [Times].
func Once() FaultOption { return Times(1) }

// Times limits a fault to n requests. These are the first n matching requests
// that are sent after the fault was injected. A request does not count if
// another fault has already answered the request. Without Times, a fault also hits
// requests that are already in flight and watches that are already open.
func Times(n int) FaultOption {
	return func(f *Fault) { f.left, f.limited = n, true }
}

// Struck returns a channel that is closed when the fault hits its first
// request. When the fault hits a request depends on the kind of the fault:
//
//   - A fault on requests hits a request when the fault holds, refuses or
//     answers the request.
//   - A fault on replies hits a request after the server has applied the
//     request, when the fault holds, drops or replaces the reply.
//   - A fault on watches hits a watch when the fault holds an event.
func (f *Fault) Struck() <-chan struct{} { return f.struck }

// Hits returns how many requests the fault has hit. If the fault holds events
// of a watch, each batch of events counts as one hit. But with the option
// [Times], each watch counts as one hit only.
func (f *Fault) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// awaitTimeout is how long Await waits for a hit. Without this timeout, a
// failing test would wait forever. Do not write tests that depend on the length
// of awaitTimeout.
const awaitTimeout = time.Minute

// Await waits for the first request that the fault hits, and returns that
// request. The test fails if the fault hits no request within a minute, or if
// the test's context is done.
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

// Heal ends this fault. Requests and replies that the fault holds continue. If
// the fault is a delay other than [Forever], the requests and replies first wait
// for the rest of the delay. A second call of Heal has no effect.
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

// matching reports whether the fault applies to a request. The parameter number
// is the number of earlier requests of the Network. matching does not count a
// hit. The caller must not hold a mutex, because matching calls functions of
// the test.
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

// hit counts one hit by this request and returns true. If the fault has already
// had as many hits as [Times] allows, hit counts nothing and returns false.
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
