package leaderelection

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

// A SharedWatch is one watch of all Leases of a namespace, for programs with many
// electors in one process: give each of them WithSharedWatch. It runs while one
// of them runs. It needs the right to watch every Lease of the namespace; without
// it the electors poll.
type SharedWatch struct {
	clientset kubernetes.Interface
	namespace string

	mu       sync.Mutex
	watcher  *watcher
	cancel   context.CancelFunc
	done     chan struct{}
	open     bool
	err      error
	electors map[string]map[*Elector]bool // by the name of their Lease
}

// NewSharedWatch makes a watch of namespace, on the cluster that its electors
// campaign on. It sends nothing before an Elector that has it runs. New refuses it
// to an Elector of another namespace.
func NewSharedWatch(clientset kubernetes.Interface, namespace string) *SharedWatch {
	return &SharedWatch{clientset: clientset, namespace: namespace, electors: map[string]map[*Elector]bool{}}
}

// WithSharedWatch makes the Elector follow its Lease by a watch that it shares
// with others. Default: each has a watch of its own.
func WithSharedWatch(shared *SharedWatch) Option {
	return func(o *options) { o.shared = shared }
}

// join lets e hear what the watch says, and returns the watch; nil if e has none
// that is shared.
func (s *SharedWatch) join(e *Elector) *watcher {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	if s.electors[e.config.LeaseName] == nil {
		s.electors[e.config.LeaseName] = map[*Elector]bool{}
	}
	s.electors[e.config.LeaseName][e] = true
	if s.watcher == nil {
		s.startLocked(e.config.shortestRead(), e.config.RetryPeriod/4)
	}
	defer s.mu.Unlock()
	e.watchChanged(s.open, s.err)
	return s.watcher
}

func (s *SharedWatch) startLocked(connect, pause time.Duration) {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	w := &watcher{
		leases:  s.clientset.CoordinationV1().Leases(s.namespace),
		connect: connect, pause: pause, tell: s.tell,
	}
	w.changed = func(open bool, err error) { s.changed(w, open, err) }
	done := make(chan struct{})
	s.watcher, s.done = w, done
	var group tasks
	group.run(func() {
		defer close(done)
		w.run(ctx)
	})
}

// leave ends it for e, and ends the watch with the last one.
func (s *SharedWatch) leave(e *Elector) {
	s.mu.Lock()
	delete(s.electors[e.config.LeaseName], e)
	if len(s.electors[e.config.LeaseName]) == 0 {
		delete(s.electors, e.config.LeaseName)
	}
	var done chan struct{}
	if len(s.electors) == 0 && s.watcher != nil {
		s.cancel()
		done, s.watcher, s.open, s.err = s.done, nil, false, nil
	}
	s.mu.Unlock()
	if done != nil {
		<-done
	}
	e.watchChanged(false, nil)
}

func (s *SharedWatch) tell(event watch.Event) {
	lease := leaseIn(event)
	if lease == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock() // held: whoever has left is told nothing any more
	for e := range s.electors[lease.Name] {
		e.sightEvent(event)
	}
}

// changed passes on that w was opened or has ended, if it is still in use.
func (s *SharedWatch) changed(w *watcher, open bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watcher != w {
		return
	}
	s.open, s.err = open, err
	for _, group := range s.electors {
		for e := range group {
			e.watchChanged(open, err)
		}
	}
}
