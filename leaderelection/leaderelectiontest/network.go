package leaderelectiontest

import (
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Mode says what becomes of a message that does not get through.
type Mode int

const (
	// Hang keeps the sender waiting until it gives up.
	Hang Mode = iota
	// Refuse tells the sender at once, by an error of its connection.
	Refuse
)

// Network is what lies between one [Client] and the [Server]. Each method
// puts a [Fault] into it; faults add up and last until they are healed.
// Without options a fault hits every request.
type Network struct {
	server *Server
	faults []*Fault // guarded by the server's mutex
	drops  int      // how often open watches were dropped; likewise
}

// Fault is something wrong with a [Network].
type Fault struct {
	server     *Server
	kind       faultKind
	mode       Mode
	delay      time.Duration
	status     int
	retryAfter time.Duration
	matches    []func(Request) bool

	left   int  // how many more requests it hits, negative: any number; guarded by the server's mutex
	healed bool // likewise
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

// FaultOption narrows down what a fault hits.
type FaultOption func(*Fault)

// When limits a fault to the requests that match. The function is asked by the
// goroutine that sends, so by several if several send; and for an open watch
// whenever it has something to deliver.
func When(match func(Request) bool) FaultOption {
	return func(f *Fault) { f.matches = append(f.matches, match) }
}

// Verbs limits a fault to requests of these verbs.
func Verbs(verbs ...string) FaultOption {
	return When(func(r Request) bool { return slices.Contains(verbs, r.Verb) })
}

// Once limits a fault to the first request that it matches.
func Once() FaultOption { return Times(1) }

// Times limits a fault to the first n requests that it matches.
func Times(n int) FaultOption { return func(f *Fault) { f.left = n } }

// Cut cuts the network: requests do not arrive, replies under way do not
// either, watches get no events. With [Hang] messages wait for the network to
// be healed, as packets that are sent again and again; who gives up before
// that has sent nothing. With [Refuse] connections fail at once, and open
// watches end.
func (n *Network) Cut(mode Mode, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: cut, mode: mode}, options)
}

// DelayRequests makes each request arrive later. If its sender gives up
// before that, it never arrives.
func (n *Network) DelayRequests(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: delayRequests, delay: d}, options)
}

// DelayReplies makes each reply arrive later. The server has applied the
// request long before.
func (n *Network) DelayReplies(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: delayReplies, delay: d}, options)
}

// LoseReplies loses the replies to requests that the server has applied: the
// sender waits until it gives up, or is told at once that the connection
// broke, as mode says.
func (n *Network) LoseReplies(mode Mode, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: loseReplies, mode: mode}, options)
}

// ArriveLate makes each request arrive later, even if its sender has given up
// long before: the server applies it all the same.
func (n *Network) ArriveLate(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: arriveLate, delay: d}, options)
}

// Fail makes the server answer requests by an error of that HTTP status,
// without applying them. A positive retryAfter goes into the reply, in whole
// seconds.
func (n *Network) Fail(status int, retryAfter time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: fail, status: status, retryAfter: retryAfter}, options)
}

// FailReplies makes the server answer by an error of that HTTP status after it
// has applied the request, as it does when its storage answers too late.
func (n *Network) FailReplies(status int, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: failReplies, status: status}, options)
}

// StallWatches holds back the events of open watches; they arrive when the
// fault is healed. Everything else gets through.
func (n *Network) StallWatches(options ...FaultOption) *Fault {
	return n.add(&Fault{kind: stallWatches}, options)
}

// DelayWatches makes each event arrive that long after it happened.
func (n *Network) DelayWatches(d time.Duration, options ...FaultOption) *Fault {
	return n.add(&Fault{kind: delayWatches, delay: d}, options)
}

// DropWatches ends the watches that are open now. New ones may be opened at
// once.
func (n *Network) DropWatches() {
	n.server.mu.Lock()
	defer n.server.mu.Unlock()
	n.drops++
	n.server.wakeLocked()
}

// Heal removes all faults from the network. What is already delayed stays so.
func (n *Network) Heal() {
	n.server.mu.Lock()
	defer n.server.mu.Unlock()
	for _, fault := range n.faults {
		fault.healed = true
	}
	n.faults = nil
	n.server.wakeLocked()
}

// Heal removes this fault from its network.
func (f *Fault) Heal() {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	f.healed = true
	f.server.wakeLocked()
}

func (n *Network) add(fault *Fault, options []FaultOption) *Fault {
	fault.server, fault.left = n.server, -1
	for _, option := range options {
		option(fault)
	}
	n.server.mu.Lock()
	defer n.server.mu.Unlock()
	n.faults = append(slices.DeleteFunc(n.faults, func(f *Fault) bool { return f.healed }), fault)
	n.server.wakeLocked()
	return fault
}

// current returns the faults of one kind that hit a request, without counting
// the hit. The users' predicates run outside the mutex.
func (n *Network) current(request *Request, kind faultKind) []*Fault {
	n.server.mu.Lock()
	var candidates []*Fault
	for _, fault := range n.faults {
		if fault.kind == kind && !fault.healed && fault.left != 0 {
			candidates = append(candidates, fault)
		}
	}
	n.server.mu.Unlock()
	return slices.DeleteFunc(candidates, func(f *Fault) bool {
		return slices.ContainsFunc(f.matches, func(match func(Request) bool) bool { return !match(*request) })
	})
}

// take returns the first fault of a kind that hits a request, and counts it.
func (n *Network) take(request *Request, kind faultKind) *Fault {
	for _, fault := range n.current(request, kind) {
		if fault.use() {
			return fault
		}
	}
	return nil
}

// total adds up the delays that hit a request, and counts them.
func (n *Network) total(request *Request, kind faultKind) time.Duration {
	var sum time.Duration
	for _, fault := range n.current(request, kind) {
		if fault.use() {
			sum += fault.delay
		}
	}
	return sum
}

func (f *Fault) use() bool {
	f.server.mu.Lock()
	defer f.server.mu.Unlock()
	if f.healed || f.left == 0 {
		return false
	}
	if f.left > 0 {
		f.left--
	}
	return true
}

func (f *Fault) answer(r *Request) answer {
	err := apierrors.NewGenericServerResponse(f.status, r.Verb, leaseResource, r.Name,
		"leaderelectiontest: "+http.StatusText(f.status), int(f.retryAfter/time.Second), true)
	err.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	return answer{code: f.status, object: &err.ErrStatus}
}
