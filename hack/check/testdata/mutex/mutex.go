package mutex

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

type Callbacks struct{ OnNewLeader func(string) }

type Elector struct {
	log       *slog.Logger
	callbacks Callbacks
	leases    coordinationclient.LeaseInterface
	mu        sync.Mutex
	queue     queue
	n         int
}

type queue struct {
	mu    sync.Mutex
	items []int
}

func (q *queue) add(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = append(q.items, i)
}

func (e *Elector) fine() {
	e.mu.Lock()
	e.n++
	e.queue.add(e.n)
	e.mu.Unlock()
	e.log.Info("After the mutex")
	e.report()
}

func (e *Elector) early(ok bool) {
	e.mu.Lock()
	if !ok {
		e.mu.Unlock()
		e.report()
		return
	}
	e.n++
	e.log.Info("With the mutex") // want: early logs
	e.mu.Unlock()
	go func() { e.report() }()
}

func (e *Elector) deferred(ctx context.Context) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.report()                                                // want: deferred calls the caller's OnNewLeader
	_, _ = e.leases.Get(ctx, "my-lease", metav1.GetOptions{}) // want: deferred sends a request
	later(func() { e.report() })
	go e.report()
	if slices.ContainsFunc(e.queue.items, func(int) bool { slog.Info("Looking"); return true }) { // want: deferred logs
		return
	}
	helper := func() { e.n++ }
	helper()
	e.locks() // want: deferred locks mu again
}

func later(func()) {}

func (e *Elector) locks() {
	e.mu.Lock()
	e.n++
	e.mu.Unlock()
}

func (e *Elector) report() { e.callbacks.OnNewLeader("pod-1") }

func (e *Elector) setLocked() {
	e.queue.add(1)
	e.log.Info("Locked") // want: setLocked logs
	e.locks()            // want: setLocked locks mu again
}

func (e *Elector) pingLocked() {
	if e.n > 0 {
		e.pongLocked() // want: call each other
	}
}

func (e *Elector) pongLocked() {
	e.n--
	e.pingLocked() // want: call each other
}

func (e *Elector) temporarilyLocked() {
	e.mu.Unlock()
	e.report()
	e.mu.Lock()
}

func (e *Elector) startLocked() {
	go func() {
		e.locks()
		e.report()
	}()
}

func (e *Elector) callsOne() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setLocked() // setLocked has the finding
}

// unlock unlocks the mutex, and then calls a function of the user.
func (e *Elector) unlock() {
	e.mu.Unlock()
	e.report()
}

func (e *Elector) helper(ok bool) {
	e.mu.Lock()
	e.log = e.log.With("n", e.n)
	if ok {
		e.log.Info("Before") // want: helper logs
	}
	e.unlock()
	e.report()
	e.locks()
}

func (e *Elector) deferredHelper() {
	e.mu.Lock()
	defer e.unlock()
	e.report() // want: deferredHelper calls the caller's OnNewLeader
}

func (e *Elector) lock() { e.mu.Lock() }

func (e *Elector) lockHelper() {
	e.lock()
	e.report() // want: lockHelper calls the caller's OnNewLeader
	e.unlock()
	e.lock()
	e.lock() // want: lockHelper locks mu again
	e.unlock()
}
