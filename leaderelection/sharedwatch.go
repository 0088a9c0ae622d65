package leaderelection

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/leasewatch"
)

// A SharedWatch is one watch on all Leases of a namespace. Use it in a program with
// many electors in one process, and pass it to each Elector with WithSharedWatch. The
// watch is open while at least one of these electors runs. It needs the right to watch
// all Leases of the namespace. Without this right, each elector polls its Lease.
type SharedWatch struct {
	clientset kubernetes.Interface
	namespace string

	calls dispatch.Calls

	mu       sync.Mutex
	watch    *leasewatch.Watch
	cancel   context.CancelFunc
	done     chan struct{}
	open     bool
	err      error
	electors map[string]map[*Elector]bool // the running electors, keyed by the name of their Lease
}

// NewSharedWatch returns a SharedWatch for the Leases in the given namespace. The
// clientset must be for the same cluster as the clientsets of the electors.
// NewSharedWatch sends no request. The watch opens when the first Elector that uses the
// SharedWatch runs. New returns an error if the Lease of the Elector is in another
// namespace.
func NewSharedWatch(clientset kubernetes.Interface, namespace string) *SharedWatch {
	return &SharedWatch{clientset: clientset, namespace: namespace, electors: map[string]map[*Elector]bool{}}
}

// WithSharedWatch makes the Elector observe its Lease through the given SharedWatch.
// Default: each Elector has its own watch.
func WithSharedWatch(shared *SharedWatch) Option {
	return func(o *options) { o.shared = shared }
}

// join adds e to the electors that receive events, and returns the watch. If
// s is nil, join returns nil.
func (s *SharedWatch) join(e *Elector) *leasewatch.Watch {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.electors[e.config.LeaseName] == nil {
		s.electors[e.config.LeaseName] = map[*Elector]bool{}
	}
	s.electors[e.config.LeaseName][e] = true
	if s.watch == nil {
		s.startLocked(e.config)
	}
	e.watchChanged(s.open, s.err)
	return s.watch
}

func (s *SharedWatch) startLocked(c Config) {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	w := &leasewatch.Watch{
		Open:           store{leases: s.clientset.CoordinationV1().Leases(s.namespace), calls: &s.calls}.watchAll,
		ConnectTimeout: c.shortestRead(), Backoff: c.watchBackoff(), Jitter: watchJitter,
		Event: s.event,
	}
	w.Changed = func(open bool, err error) { s.changed(w, open, err) }
	done := make(chan struct{})
	s.watch, s.done = w, done
	var tasks dispatch.Tasks
	tasks.Run(func() {
		defer close(done)
		w.Run(ctx)
	})
}

// leave removes e from the electors that receive events. It closes the watch
// if there are no other electors.
func (s *SharedWatch) leave(e *Elector) {
	s.mu.Lock()
	delete(s.electors[e.config.LeaseName], e)
	if len(s.electors[e.config.LeaseName]) == 0 {
		delete(s.electors, e.config.LeaseName)
	}
	var done chan struct{}
	if len(s.electors) == 0 && s.watch != nil {
		s.cancel()
		done, s.watch, s.open, s.err = s.done, nil, false, nil
	}
	s.mu.Unlock()
	if done != nil {
		<-done
	}
	e.watchChanged(false, nil)
}

// event delivers an event to the electors that campaign for the Lease in the
// event.
func (s *SharedWatch) event(event watch.Event) {
	lease := leasewatch.LeaseOf(event)
	if lease == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := range s.electors[lease.Name] {
		e.observeEvent(event)
	}
}

// changed reports to the electors whether the watch w is open. It does
// nothing if s no longer uses w.
func (s *SharedWatch) changed(w *leasewatch.Watch, open bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch != w {
		return
	}
	s.open, s.err = open, err
	for _, group := range s.electors {
		for e := range group {
			e.watchChanged(open, err)
		}
	}
}
