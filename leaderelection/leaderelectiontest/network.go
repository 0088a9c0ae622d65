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

// ErrNetworkClosed is returned for requests through a [Network] that was closed.
var ErrNetworkClosed = errors.New("leaderelectiontest: the network is closed")

// Network is the network between one client and its API server. It is an
// [http.RoundTripper] in front of the client's transport, so it works with any
// API server. Each method that returns a [Fault] injects that fault. Faults
// add up. They last until they are healed, one by one or together. Without
// options, a fault hits every request. All methods may be called from any
// goroutine.
//
// A fault holds, drops or refuses a whole HTTP request or reply. The events of
// a watch are held where the client reads them.
type Network struct {
	client   string                  // Request.Client
	lifetime context.Context         // ends with Close
	end      context.CancelCauseFunc // of lifetime
	late     sync.WaitGroup          // requests that outlive their sender; see ArriveLate

	mu          sync.Mutex   // never held across a wait or a call of foreign code
	faults      []*Fault     // in the order in which they were injected
	connections *connections // that new requests use
	watches     []*watchBody // open watches
	sent        []Request    // every request, see Count
	changed     chan struct{}
}

// connections stands for all connections that were opened between two breaks.
type connections struct {
	broken chan struct{}
	err    error // why they broke; read it after broken is closed
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

// Wrap returns a copy of config whose clients send their requests through the
// Network.
func (n *Network) Wrap(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(n.RoundTripper)
	return config
}

// RoundTripper returns a RoundTripper that sends requests through the Network
// to next.
func (n *Network) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return &roundTripper{network: n, next: next}
}

// Cut cuts the network: requests do not arrive, replies under way do not
// arrive, and watches deliver no events. With [Hang], messages wait until the
// fault is healed, like packets that are retransmitted. A request whose sender
// gives up before that is never sent. With [Refuse], requests fail at once and
// open watches end.
func (n *Network) Cut(mode Mode, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "Cut(" + mode.String() + ")", kind: cut, mode: mode}, options)
}

// DelayRequests makes each request arrive later. A request whose sender gives
// up before that never arrives.
func (n *Network) DelayRequests(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayRequests", kind: delayRequests, delay: d}, options)
}

// DelayReplies makes each reply arrive later. The server has applied the
// request without delay.
func (n *Network) DelayReplies(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayReplies", kind: delayReplies, delay: d}, options)
}

// LoseReplies loses the replies to requests that the server has applied. With
// [Hang] the sender waits until it gives up. With [Refuse] it gets a "connection
// reset" at once. Healing does not bring back a lost reply: a sender that still
// waits then gets a "connection reset".
func (n *Network) LoseReplies(mode Mode, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "LoseReplies(" + mode.String() + ")", kind: loseReplies, mode: mode}, options)
}

// ArriveLate makes each request arrive later, even if its sender has given up
// before: the server applies it nevertheless. A watch has no effect on the
// server, so it is only delayed.
func (n *Network) ArriveLate(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "ArriveLate", kind: arriveLate, delay: d}, options)
}

// Fail answers requests with an error of this HTTP status. They do not reach
// the server. A positive retryAfter is sent in the reply, in whole seconds.
func (n *Network) Fail(status int, retryAfter time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "Fail", kind: fail, status: status, retryAfter: retryAfter}, options)
}

// FailReplies answers with an error of this HTTP status after the server has
// applied the request, like an API server whose storage answers too late.
func (n *Network) FailReplies(status int, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "FailReplies", kind: failReplies, status: status}, options)
}

// StallWatches holds the events of watches until the fault is healed. New
// watches open, but deliver nothing. Other requests are not affected. With
// [Times] the first new watches are stalled for as long as the fault lasts.
func (n *Network) StallWatches(options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "StallWatches", kind: stallWatches}, options)
}

// DelayWatches makes each event arrive this long after it happened. On a real
// connection an event that follows another one closely may take up to twice as
// long.
func (n *Network) DelayWatches(d time.Duration, options ...FaultOption) *Fault {
	return n.inject(&Fault{what: "DelayWatches", kind: delayWatches, delay: d}, options)
}

// DropWatches ends the watches that are open now. New ones may be opened at
// once.
func (n *Network) DropWatches() { n.endWatches(Any, io.ErrUnexpectedEOF) }

// Heal ends all faults. Messages that hang because of them go on their way. A
// delay that has begun runs to its end, unless it is [Forever].
func (n *Network) Heal() {
	n.mu.Lock()
	healed := n.faults
	n.faults = nil // all at once: a message that one fault lets go meets no other one
	n.changedLocked()
	n.mu.Unlock()
	for _, fault := range healed {
		fault.release()
	}
}

// Close fails all requests under way and all later ones with
// [ErrNetworkClosed], and ends the open watches. It returns when no request is
// under way that has outlived its sender.
func (n *Network) Close() { n.close(ErrNetworkClosed) }

func (n *Network) close(err error) {
	n.breakConnections(true, err, err)
	n.late.Wait()
}

// Count returns how many requests were sent that match, whether or not they
// reached the server.
func (n *Network) Count(match func(Request) bool) int {
	n.mu.Lock()
	sent := slices.Clip(n.sent) // only ever appended to
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

// current returns the faults that are not healed.
func (n *Network) current() []*Fault {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clip(n.faults) // appended to, or replaced
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

// breakConnections fails all requests under way with requestErr and ends all
// open watches with watchErr. After the last break there are no new
// connections, so all later requests fail as well.
func (n *Network) breakConnections(last bool, requestErr, watchErr error) {
	n.mu.Lock()
	if n.lifetime.Err() != nil {
		n.mu.Unlock()
		return
	}
	broken := n.connections
	if last {
		n.end(requestErr)
	} else {
		n.connections = &connections{broken: make(chan struct{})}
	}
	broken.err = requestErr
	close(broken.broken)
	n.mu.Unlock()
	n.endWatches(Any, watchErr)
}

// endWatches ends open watches. A watch that waits for an event does not notice
// a cut by itself.
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
