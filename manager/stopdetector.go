package manager

import (
	"context"
	"errors"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// A stopDetector is a Runnable that closes its channel when the inner Manager begins to
// stop, for example because a Runnable has failed. The inner Manager stops the
// stopDetector among the first Runnables, because the stopDetector does not need leader
// election.
type stopDetector chan struct{}

func (d stopDetector) Start(ctx context.Context) error {
	<-ctx.Done()
	close(d)
	return nil
}

func (d stopDetector) NeedLeaderElection() bool { return false }

// Add adds a Runnable to the inner Manager. When the Runnable fails, its error is
// recorded at once. The inner Manager returns the error only after all Runnables have
// stopped, which may take longer than the grace period.
func (m *electedManager) Add(r crmanager.Runnable) error {
	switch r.(type) {
	case nil, *crmanager.Server, webhook.Server, interface{ GetCache() cache.Cache }:
		return m.Manager.Add(r) // controller-runtime detects these types, so they must not be wrapped
	}
	w := watched{r, m.recordFailure}
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

// recordFailure records the first error of a Runnable, because this error makes the
// inner Manager stop. It ignores errors after the stop has begun.
func (m *electedManager) recordFailure(err error) {
	if err != nil && !errors.Is(err, context.Canceled) && !m.gate.isShut() && !isDone(m.stopping) {
		m.failure.CompareAndSwap(nil, &err)
	}
}

// A warmer is a Runnable that warms up before its Manager leads.
type warmer interface{ Warmup(context.Context) error }

// watched wraps a Runnable. When the Runnable returns, its error is passed to the
// function report.
type watched struct {
	crmanager.Runnable
	report func(error)
}

func (w watched) Start(ctx context.Context) error {
	err := w.Runnable.Start(ctx)
	w.report(err)
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
	w.manager.recordFailure(err)
	return err
}

// warmups counts the Runnables that are warming up. The Lease must not be released
// while a Runnable is warming up. The inner Manager does not wait for these Runnables.
type warmups struct {
	mu     sync.Mutex
	over   bool
	active sync.WaitGroup
}

// enter reports whether a warm-up may begin. If it returns true, call leave when the
// warm-up has ended.
func (w *warmups) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.active.Add(1)
	}
	return !w.over
}

func (w *warmups) leave() { w.active.Done() }

// end prevents new warm-ups, and waits until the current warm-ups have ended.
func (w *warmups) end() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.active.Wait()
}
