package dispatch

import "sync"

// A Notifier reports each new leader to a receiver that may be slow. Leaders are
// reported in order. Two consecutive reports never name the same leader. If Offer is
// called several times while the receiver is busy, only the newest leader is reported.
// The Notifier calls the receiver in a separate goroutine. Therefore the receiver may
// block.
type Notifier struct {
	Call func(identity string) // the receiver; if nil, no leader is reported

	tasks    Tasks
	mu       sync.Mutex
	next     string // the leader to report; "" if no leader must be reported
	reported string // the leader that was reported last
	busy     bool
}

// Offer makes the Notifier report that identity leads. Offer never blocks. An empty
// identity is ignored.
func (n *Notifier) Offer(identity string) {
	if n.Call == nil || identity == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = identity
	n.startLocked()
}

func (n *Notifier) startLocked() {
	if n.busy || n.next == "" || n.next == n.reported {
		return
	}
	n.busy = true
	n.tasks.Detach(n.report)
}

// report calls the receiver once. If there is another leader to report, report then
// starts a new goroutine. A new goroutine is needed because the receiver may call
// runtime.Goexit.
func (n *Notifier) report() {
	n.mu.Lock()
	identity := n.next
	if identity == n.reported { // the leader changed and changed back while the receiver was busy
		n.next, n.busy = "", false
		n.mu.Unlock()
		return
	}
	n.next, n.reported = "", identity
	n.mu.Unlock()

	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.busy = false
		n.startLocked()
	}()
	n.Call(identity)
}
