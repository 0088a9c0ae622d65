package leaderelectiontest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// ErrNetworkClosed is the error of requests that are in flight when a [Network]
// is closed, and of requests that are sent later.
var ErrNetworkClosed = errors.New("leaderelectiontest: the network is closed")

// Network is a simulated network between one client and an API server. A
// Network wraps the [http.RoundTripper] of the client. Therefore a Network
// works with any API server. All methods may be called from any goroutine.
//
// Each method that returns a [Fault] injects a fault into the Network. Without
// options, the fault hits every request. Several faults can be active at the
// same time. A fault lasts until [Fault.Heal] or [Network.Heal] is called.
//
// A fault holds, drops or refuses a whole HTTP request or a whole HTTP reply.
// If a fault holds the events of a watch, the client waits when it tries to
// read an event.
type Network struct {
	client   string                  // the value of Request.Client
	lifetime context.Context         // ends when the Network is closed
	end      context.CancelCauseFunc // ends lifetime
	late     sync.WaitGroup          // waits for the goroutines that ArriveLate starts

	mu          sync.Mutex   // not held while waiting or while calling functions of the test
	faults      []*Fault     // the active faults, oldest first
	connections *connections // the connections that new requests use
	watches     []*watchBody // open watches
	sent        []Request    // all requests that clients have sent; Count reads this list
	changed     chan struct{}
}

// connections represents all open connections of a Network. All of these
// connections break together.
type connections struct {
	broken chan struct{}
	err    error // the reason for the break; read err only after broken is closed
}

// NewNetwork returns a Network without faults. If the test runs in a synctest
// bubble, call NewNetwork inside the bubble.
func NewNetwork() *Network {
	n := &Network{
		connections: &connections{broken: make(chan struct{})},
		changed:     make(chan struct{}),
	}
	n.lifetime, n.end = context.WithCancelCause(context.Background())
	return n
}

// Wrap returns a copy of config. If a client is created from this copy, the
// client sends its requests through the Network.
func (n *Network) Wrap(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(n.RoundTripper)
	return config
}

// RoundTripper returns a RoundTripper that sends requests through the Network
// to the RoundTripper next.
func (n *Network) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return &roundTripper{network: n, next: next}
}

// Cut cuts the network. Requests and replies do not arrive, and watches deliver
// no events. With the mode [Hang], requests and replies wait until the fault is
// healed, as with TCP, which retransmits packets. If the sender of a
// waiting request gives up, the request is never sent. With the mode [Refuse],
// requests fail at once and open watches end.
func (n *Network) Cut(mode Mode, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "Cut(" + mode.String() + ")", kind: cut, mode: mode}, options)
}

// DelayRequests delays each request by the duration d. If the sender gives up
// during the delay, the request never arrives.
func (n *Network) DelayRequests(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayRequests", kind: delayRequests, delay: d}, options)
}

// DelayReplies delays each reply by the duration d. The server applies the
// request before the delay.
func (n *Network) DelayReplies(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayReplies", kind: delayReplies, delay: d}, options)
}

// LoseReplies drops the replies to requests that the server has applied. With
// the mode [Hang], the sender waits until it gives up or the fault is healed.
// With the mode [Refuse], the sender gets the error "connection reset" at once.
// A lost reply is never delivered. Therefore a sender that still waits when the
// fault is healed gets the error "connection reset".
func (n *Network) LoseReplies(mode Mode, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "LoseReplies(" + mode.String() + ")", kind: loseReplies, mode: mode}, options)
}

// ArriveLate delays each request by the duration d. The server applies the
// request after the delay, even if the sender has given up. But if the sender of
// a watch has given up, the server does not open the watch.
func (n *Network) ArriveLate(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "ArriveLate", kind: arriveLate, delay: d}, options)
}

// Fail answers requests with an error that has this HTTP status. The requests
// do not reach the server. If retryAfter is positive, the reply has a
// Retry-After header in whole seconds.
func (n *Network) Fail(status int, retryAfter time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "Fail", kind: fail, status: status, retryAfter: retryAfter}, options)
}

// FailReplies lets the server apply requests, and then replaces each reply by
// an error with this HTTP status. A real API server can also apply a write and
// answer with an error. For example, this happens if etcd answers too late.
func (n *Network) FailReplies(status int, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "FailReplies", kind: failReplies, status: status}, options)
}

// StallWatches holds the events of watches until the fault is healed. New
// watches open, but deliver no events. Requests other than watches are not
// affected. With the option [Times], the fault holds only the events of the
// first n new watches.
func (n *Network) StallWatches(options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "StallWatches", kind: stallWatches}, options)
}

// DelayWatches delays each event of a watch by the duration d. The in-memory
// server records the time of each event, and the delay starts at this time. On
// a real connection, an event may arrive while an earlier event is delayed. The
// delay of such an event can be up to twice d.
func (n *Network) DelayWatches(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayWatches", kind: delayWatches, delay: d}, options)
}

// DropWatches ends the watches that are currently open. Clients can open new
// watches at once.
func (n *Network) DropWatches() { n.endWatches(Any, io.ErrUnexpectedEOF) }

// Heal ends all faults. Requests and replies that a fault holds continue. If
// the fault is a delay other than [Forever], the requests and replies first wait
// for the rest of the delay.
func (n *Network) Heal() {
	n.mu.Lock()
	healed := n.faults
	n.faults = nil // remove all faults before releasing the messages
	n.changedLocked()
	n.mu.Unlock()
	for _, fault := range healed {
		fault.release()
	}
}

// Close ends the open watches. Requests in flight and later requests fail with
// [ErrNetworkClosed]. Close waits until the goroutines that
// [Network.ArriveLate] started have ended.
func (n *Network) Close() { n.close(ErrNetworkClosed) }

func (n *Network) close(err error) {
	n.breakConnections(true, err, err)
	n.late.Wait()
}

// Count returns the number of sent requests for which match returns
// true. The number includes requests that did not reach the server.
func (n *Network) Count(match func(Request) bool) int {
	n.mu.Lock()
	sent := slices.Clip(n.sent) // a copy is not needed, because elements of n.sent never change
	n.mu.Unlock()
	count := 0
	for _, r := range sent {
		if match(r) {
			count++
		}
	}
	return count
}

func (n *Network) inject(f *Fault, options []FaultOption) *Fault {
	f.network, f.healed, f.struck = n, make(chan struct{}), make(chan struct{})
	for _, option := range options {
		option(f)
	}
	n.mu.Lock()
	f.since = len(n.sent)
	n.faults = append(n.faults, f)
	n.changedLocked()
	n.mu.Unlock()
	if f.kind == cut && f.mode == Refuse && !f.limited {
		n.endWatches(func(r Request) bool { return f.matching(r, f.since) }, errReset)
	}
	return f
}

func (n *Network) remove(f *Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = slices.DeleteFunc(slices.Clone(n.faults), func(other *Fault) bool { return other == f })
	n.changedLocked()
}

// current returns the faults that have not been healed.
func (n *Network) current() []*Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clip(n.faults) // a copy is not needed, because elements of n.faults never change
}

// change returns a channel that is closed when a fault is injected or healed.
func (n *Network) change() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

func (n *Network) changedLocked() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// breakConnections breaks all open connections. Requests in flight fail with
// requestErr, and open watches end with watchErr. If the parameter closing is
// true, later requests also fail with requestErr.
func (n *Network) breakConnections(closing bool, requestErr, watchErr error) {
	n.mu.Lock()
	if n.lifetime.Err() != nil {
		n.mu.Unlock()
		return
	}
	broken := n.connections
	if closing {
		n.end(requestErr)
	} else {
		n.connections = &connections{broken: make(chan struct{})}
	}
	broken.err = requestErr
	close(broken.broken)
	n.mu.Unlock()
	n.endWatches(Any, watchErr)
}

// endWatches ends open watches with the error err. It ends a watch if the
// function match returns true for the request of the watch.
func (n *Network) endWatches(match func(Request) bool, err error) {
	n.mu.Lock()
	open := slices.Clone(n.watches)
	n.mu.Unlock()
	for _, body := range open {
		if match(body.exchange.request) {
			body.end(err)
		}
	}
}
