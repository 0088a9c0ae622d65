package envtest

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// ErrNetworkClosed is reported for requests on a Network that was closed.
var ErrNetworkClosed = errors.New("envtest: the client's network was closed")

// Network is what lies between one client and the API server. It is whole until
// it is harmed: each of the methods that return one puts a [Fault] into it.
// Faults add up, and last until they are healed, one by one or together. Without
// options a fault hits every request. All methods may be called from any
// goroutine.
type Network struct {
	life     context.Context // ends with Close
	end      context.CancelCauseFunc
	detached sync.WaitGroup // requests that outlive their sender

	mu      sync.Mutex             // never held across a wait
	faults  []*Fault               // in the order in which they were added
	changed chan struct{}          // closed and replaced when faults changed
	watches map[*watchBody]Request // that are open
	made    []Request              // every request, for Count
}

// NewNetwork returns a Network that is whole.
func NewNetwork() *Network {
	life, end := context.WithCancelCause(context.Background())
	return &Network{
		life:    life,
		end:     end,
		changed: make(chan struct{}),
		watches: map[*watchBody]Request{},
	}
}

// Wrap returns a copy of config whose clients speak through the Network.
func (n *Network) Wrap(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(n.RoundTripper)
	return config
}

// RoundTripper returns next with the Network in front of it.
func (n *Network) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return &roundTripper{network: n, next: next}
}

// Cut cuts the network: requests do not arrive, replies under way do not either,
// watches get no events. With [Hang] messages wait for the network to be healed,
// as packets that are sent again and again; who gives up before that has sent
// nothing. With [Refuse] connections fail at once, and open watches end.
func (n *Network) Cut(mode Mode, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "Cut(" + mode.String() + ")", kind: cut, mode: mode}, options)
}

// DelayRequests makes each request arrive later. If its sender gives up before
// that, it never arrives.
func (n *Network) DelayRequests(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "DelayRequests", kind: delayRequests, delay: d}, options)
}

// DelayReplies makes each reply arrive later. The server has applied the request
// long before.
func (n *Network) DelayReplies(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "DelayReplies", kind: delayReplies, delay: d}, options)
}

// LoseReplies loses the replies to requests that the server has applied: the
// sender waits until it gives up, or is told at once that the connection broke,
// as mode says. Healing does not bring back what is lost: who still waits is told
// then.
func (n *Network) LoseReplies(mode Mode, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "LoseReplies(" + mode.String() + ")", kind: loseReplies, mode: mode}, options)
}

// ArriveLate makes each request arrive later, even if its sender has given up
// long before: the server applies it all the same.
func (n *Network) ArriveLate(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "ArriveLate", kind: arriveLate, delay: d}, options)
}

// Fail answers requests by an error of that HTTP status, without their reaching
// the server. A positive retryAfter goes into the reply, in whole seconds.
func (n *Network) Fail(status int, retryAfter time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "Fail", kind: fail, status: status, retryAfter: retryAfter}, options)
}

// FailReplies answers by an error of that HTTP status after the server has
// applied the request, as it does when its storage answers too late.
func (n *Network) FailReplies(status int, options ...FaultOption) *Fault {
	return n.add(&Fault{what: "FailReplies", kind: failReplies, status: status}, options)
}

// StallWatches holds back what watches deliver; it arrives when the fault is
// healed. New watches open, and deliver nothing. Everything else gets through.
// With [Times] the first new ones are stalled, for as long as the fault lasts.
func (n *Network) StallWatches(options ...FaultOption) *Fault {
	return n.add(&Fault{what: "StallWatches", kind: stallWatches}, append([]FaultOption{Verbs("watch")}, options...))
}

// DropWatches ends the watches that are open now. New ones may be opened at once.
func (n *Network) DropWatches() {
	n.breakWatches(Any, connectionReset())
}

// Heal ends all faults. What they hold goes on its way.
func (n *Network) Heal() {
	n.mu.Lock()
	faults := slices.Clone(n.faults)
	n.mu.Unlock()
	for _, fault := range faults {
		fault.Heal()
	}
}

// Close fails what is held and every later request with [ErrNetworkClosed], ends
// the open watches, and returns when nothing is under way that has no sender any
// more.
func (n *Network) Close() {
	n.mu.Lock() // with detach: nobody is added to detached from now on
	n.end(ErrNetworkClosed)
	n.mu.Unlock()
	n.breakWatches(Any, ErrNetworkClosed)
	n.detached.Wait()
}

// Count returns how many requests have been made that match, whether or not they
// got through.
func (n *Network) Count(match func(Request) bool) int {
	n.mu.Lock()
	requests := slices.Clone(n.made)
	n.mu.Unlock()
	count := 0
	for _, r := range requests {
		if match(r) {
			count++
		}
	}
	return count
}

func (n *Network) add(f *Fault, options []FaultOption) *Fault {
	f.network, f.healed, f.struck = n, make(chan struct{}), make(chan struct{})
	for _, option := range options {
		option(f)
	}
	n.mu.Lock()
	n.faults = append(n.faults, f)
	n.changedLocked()
	n.mu.Unlock()
	if f.kind == cut && f.mode == Refuse && !f.limited {
		n.breakWatches(f.match, connectionReset())
	}
	return f
}

func (n *Network) forget(f *Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = slices.DeleteFunc(n.faults, func(other *Fault) bool { return other == f })
	n.changedLocked()
}

func (n *Network) changedLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// breakWatches ends open watches. One that waits for an event would not notice
// by itself that it is cut.
func (n *Network) breakWatches(match func(Request) bool, err error) {
	n.mu.Lock()
	open := maps.Clone(n.watches)
	n.mu.Unlock()
	for body, request := range open {
		if match(request) {
			body.fail(err)
		}
	}
}
