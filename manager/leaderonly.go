package manager

import (
	"context"
	"errors"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// A LeaderOnlyOption says more about one Runnable of LeaderOnly.
type LeaderOnlyOption func(*member)

// FailManager makes an error of the Runnable stop the Manager, as that of any
// other Runnable does, after the term has ended and the Lease was released.
// Default: the process lives on, and steps down.
func FailManager() LeaderOnlyOption {
	return func(m *member) { m.fatal = true }
}

// LeaderOnly returns a Runnable that runs the given one in each term of elector,
// for mgr.Add. It is started when the term begins, with the term's context; it is
// to return when that ends, and is started again in the next term. All Runnables
// of one elector start together and stop together, and the Lease is not released
// before each of them has returned.
//
// If the Runnable fails, the term ends and the Lease is released, whoever wants to
// lead next; the process lives on and campaigns. After repeated failures its
// Runnables are started later and later, up to a minute after the last failure. A
// Runnable that returns nil has done its work for this term.
//
// A controller cannot be started twice: make a new one in each term. It leaves its
// event handlers and their goroutines behind on the cache that it watched; if terms
// are many, give it a cache of the term's own.
//
//	mgr.Add(manager.LeaderOnly(elector, crmanager.RunnableFunc(func(ctx context.Context) error {
//		c, err := controller.NewUnmanaged("sync", controller.Options{SkipNameValidation: new(true), ...})
//		...
//		return c.Start(ctx)
//	})))
func LeaderOnly(elector *Elector, runnable crmanager.Runnable, opts ...LeaderOnlyOption) crmanager.Runnable {
	m := &member{runnable: runnable}
	if elector != nil {
		m.crew = elector.crew
	}
	for _, option := range opts {
		option(m)
	}
	return m
}

// A member is one Runnable of a crew. It belongs to it while the Manager runs it.
type member struct {
	crew     *crew
	runnable crmanager.Runnable
	fatal    bool
}

var (
	_ crmanager.Runnable               = (*member)(nil)
	_ crmanager.LeaderElectionRunnable = (*member)(nil)
)

// NeedLeaderElection tells controller-runtime to start it on every replica: it
// waits for the term of its own elector.
func (m *member) NeedLeaderElection() bool { return false }

// Start has the Runnable run in each term until ctx is done, and returns when it
// does not run any more.
func (m *member) Start(ctx context.Context) error {
	if m.crew == nil || m.runnable == nil {
		return errors.New("manager: LeaderOnly wants an Elector that NewElector has made, and a Runnable")
	}
	leave := m.crew.join(ctx, m)
	<-ctx.Done()
	leave()
	return nil
}
