package manager

import (
	"context"
	"errors"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// A lookout tells when the inner Manager begins to stop, which it also does by
// itself when a Runnable fails: Runnables without leader election are the first
// to be stopped.
type lookout chan struct{}

func (l lookout) Start(ctx context.Context) error {
	<-ctx.Done()
	close(l)
	return nil
}

func (l lookout) NeedLeaderElection() bool { return false }

// Add adds a Runnable to the inner Manager, and sees to it that its error is
// known at once: the inner Manager tells it only when everything has stopped, and
// that may take longer than the grace period.
func (m *electedManager) Add(r crmanager.Runnable) error {
	switch r.(type) {
	case nil, *crmanager.Server, webhook.Server, interface{ GetCache() cache.Cache }:
		return m.Manager.Add(r) // told apart by their types
	}
	w := watched{r, m.noteFailure}
	warm, warms := r.(warmer)
	elected, elects := r.(crmanager.LeaderElectionRunnable)
	switch {
	case warms && elects:
		return m.Manager.Add(struct {
			watched
			crmanager.LeaderElectionRunnable
			warmer
		}{w, elected, watchedWarmer{warm, m}})
	case warms:
		return m.Manager.Add(struct {
			watched
			warmer
		}{w, watchedWarmer{warm, m}})
	case elects:
		return m.Manager.Add(struct {
			watched
			crmanager.LeaderElectionRunnable
		}{w, elected})
	default:
		return m.Manager.Add(w)
	}
}

// noteFailure notes the error that makes the inner Manager stop: the first one,
// unless it was told to stop before.
func (m *electedManager) noteFailure(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !m.gate.isShut() && !isClosed(m.stopping) {
		m.failure.CompareAndSwap(nil, &err)
	}
}

// A warmer is a Runnable that does something before its Manager leads.
type warmer interface{ Warmup(context.Context) error }

// A watched Runnable tells of its error when it has returned.
type watched struct {
	crmanager.Runnable
	tell func(error)
}

func (w watched) Start(ctx context.Context) error {
	err := w.Runnable.Start(ctx)
	w.tell(err)
	return err
}

type watchedWarmer struct {
	warmer
	manager *electedManager
}

func (w watchedWarmer) Warmup(ctx context.Context) error {
	if !w.manager.warmups.enter() {
		return nil
	}
	defer w.manager.warmups.leave()
	err := w.warmer.Warmup(ctx)
	w.manager.noteFailure(err)
	return err
}

// warmups counts the Runnables that warm up: the inner Manager tells them to stop
// and does not wait for them.
type warmups struct {
	mu     sync.Mutex
	over   bool
	active sync.WaitGroup
}

// enter reports whether a warm-up may begin.
func (w *warmups) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.active.Add(1)
	}
	return !w.over
}

func (w *warmups) leave() { w.active.Done() }

// end lets none begin any more, and waits for those that go on.
func (w *warmups) end() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.active.Wait()
}
