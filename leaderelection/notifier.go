package leaderelection

import "sync"

// A notifier tells a slow receiver who leads: in order, without repeats, the
// newest only when several came while it was busy. It has a goroutine only
// while there is something to tell, and nobody waits for it.
type notifier struct {
	call  func(identity string)
	tasks tasks

	mu   sync.Mutex
	next string // to be told; "" when there is nothing
	told string // the last one told
	busy bool
}

// offer notes that identity leads.
func (n *notifier) offer(identity string) {
	if n.call == nil || identity == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.next = identity
	n.startLocked()
}

func (n *notifier) startLocked() {
	if n.busy || n.next == "" || n.next == n.told {
		return
	}
	n.busy = true
	n.tasks.detach(n.tell)
}

// tell calls once and starts itself again if there is more: so a callback that
// ends its goroutine ends only its own.
func (n *notifier) tell() {
	n.mu.Lock()
	identity := n.next
	if identity == n.told { // somebody else led for a moment in between
		n.next, n.busy = "", false
		n.mu.Unlock()
		return
	}
	n.next, n.told = "", identity
	n.mu.Unlock()

	defer func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.busy = false
		n.startLocked()
	}()
	n.call(identity)
}
