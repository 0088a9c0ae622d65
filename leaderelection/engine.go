package leaderelection

import (
	"context"
	"time"

	clientleaderelection "k8s.io/client-go/tools/leaderelection"
)

// An engine is one client-go LeaderElector at work: it claims once, renews, and
// releases when it is stopped. A new one for each attempt is cheap.
type engine struct {
	stop context.CancelFunc
	done chan struct{} // closed when it has returned
}

// engineConfig sets client-go's elector to the pace of the lock. It tries again
// after attemptTimeout; the lock makes it wait until a renewal is due, and ends
// the term before the engine's own deadline can.
func (e *Elector) engineConfig(l *lock) clientleaderelection.LeaderElectionConfig {
	return clientleaderelection.LeaderElectionConfig{
		Lock:            l,
		LeaseDuration:   e.config.LeaseDuration,
		RenewDeadline:   e.config.LeaseDuration - time.Millisecond,
		RetryPeriod:     e.config.attemptTimeout(),
		ReleaseOnCancel: true, // the lock refuses unless the tenure yields
		Name:            e.config.LeaseName,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, // the term begins when the lock has proof, not here
			OnStoppedLeading: func() {},
		},
	}
}

func (e *Elector) newEngine(l *lock) (*clientleaderelection.LeaderElector, error) {
	return clientleaderelection.NewLeaderElector(e.engineConfig(l))
}

// startEngine lets client-go's elector run on l.
func (e *Elector) startEngine(l *lock) (*engine, error) {
	elector, err := e.newEngine(l)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(withQuietLogger(context.Background(), e.log))
	en := &engine{stop: cancel, done: make(chan struct{})}
	e.tasks.run(func() {
		defer close(en.done)
		defer cancel()
		elector.Run(ctx)
	})
	return en, nil
}

// end stops the engine and waits until it has returned: it releases the Lease
// before, if the tenure yields.
func (en *engine) end() {
	if en == nil {
		return
	}
	en.stop()
	<-en.done
}

// gone is closed when the engine has returned; never without an engine.
func (en *engine) gone() <-chan struct{} {
	if en == nil {
		return nil
	}
	return en.done
}
