package dispatch

import "sync"

// A Notifier reports the leader to a receiver that may be slow: in order, without
// repeats, and only the newest of several that arrived while it was busy. It has a
// goroutine only while it has something to report, and nothing waits for it.
type Notifier struct {
	Call func(identity string) // nil: nothing is reported

	tasks    Tasks
	mu       sync.Mutex
	next     string // to be reported; "" if nothing is
	reported string // the last one reported
	busy     bool
}

// Offer reports that identity leads. It never blocks. It ignores "".
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

// report calls the receiver once, and starts another goroutine if more has arrived. A
// callback that ends its goroutine (runtime.Goexit) therefore ends nothing else.
func (n *Notifier) report() {
	n.mu.Lock()
	identity := n.next
	if identity == n.reported { // another leader came and went in between
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
