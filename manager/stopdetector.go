package manager

import (
	"context"
	"errors"
	"sync"

	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// A stopDetector is a Runnable that closes the Manager's channel stopping when the inner
// Manager begins to stop, for example because a Runnable has failed. The inner Manager
// stops the stopDetector among the first Runnables, because the stopDetector does not
// need leader election.
type stopDetector struct{ manager *electedManager }

func (d stopDetector) Start(ctx context.Context) error {
	<-ctx.Done()
	if !d.manager.isStopAsked() {
		d.manager.failure.CompareAndSwap(nil, ptr.To(errFailed))
	}
	close(d.manager.stopping)
	return nil
}

func (d stopDetector) NeedLeaderElection() bool { return false }

// isStopAsked reports whether the Manager was asked to stop: the context of Start is
// done, the term has ended, or Start stops the Manager for another reason.
func (m *electedManager) isStopAsked() bool { return isDone(m.stopAsked) || m.gate.isShut() }

// Add adds a Runnable to the inner Manager. When the Runnable fails, its error is
// recorded at once. The inner Manager returns the error only after all Runnables have
// stopped, which may take longer than the grace period.
func (m *electedManager) Add(r crmanager.Runnable) error {
	w := watched{r, m}
	warm, warms := r.(warmer)
	elected, elects := r.(crmanager.LeaderElectionRunnable)
	cached, caches := r.(cacher)
	switch r.(type) {
	case nil, *crmanager.Server, webhook.Server:
		return m.Manager.Add(r) // controller-runtime detects these types, so they must not be wrapped
	}
	switch {
	case caches:
		return m.Manager.Add(struct {
			watched
			cacher
		}{w, cached})
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

// returned handles the error that a Runnable has returned. The first error stops the
// Manager, unless the Manager was asked to stop before: returned records this error and
// returns it, so that the inner Manager stops. It logs any other error and returns nil,
// because Start must not return an error that follows from a stop. controller-runtime
// does the same, but loses some of these errors.
func (m *electedManager) returned(err error) error {
	if err == nil || !m.isStopAsked() && m.failure.CompareAndSwap(nil, &err) {
		return err
	}
	m.logLate(err)
	return nil
}

// logLate logs an error that a Runnable returned after the stop had begun. The text is
// controller-runtime's.
func (m *electedManager) logLate(err error) {
	if !errors.Is(err, context.Canceled) {
		m.logger.Error(err, "error received after stop sequence was engaged")
	}
}

// A warmer is a Runnable that warms up before its Manager leads.
type warmer interface{ Warmup(context.Context) error }

// A cacher is a Runnable with a cache, for example a cluster. The inner Manager starts
// other Runnables only after the cache has synced.
type cacher interface{ GetCache() cache.Cache }

// watched wraps a Runnable, so that the Manager learns of its error at once.
type watched struct {
	crmanager.Runnable
	manager *electedManager
}

func (w watched) Start(ctx context.Context) error {
	return w.manager.returned(w.Runnable.Start(ctx))
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
	return w.manager.returned(w.warmer.Warmup(ctx))
}

// warmups counts the Runnables that are warming up. The Lease must not be released
// before they have finished. The inner Manager does not wait for them. Therefore this
// type waits for them.
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
