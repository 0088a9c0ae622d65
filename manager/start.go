package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A task is a function call in a separate goroutine, together with its result.
type task struct {
	done chan struct{} // closed when the function has returned
	err  error         // the result; set before done is closed
}

func begin(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// Start runs the Manager until ctx is done, a Runnable fails, or the Manager's term as
// leader ends. Start then stops all Runnables and releases the Lease before it returns.
//
// Start returns the error of a Runnable only if the error stopped the Manager. Errors
// that Runnables return after ctx is done or after the term has ended are logged.
//
// Start returns earlier if GracefulShutdownTimeout expires. In this case the Lease is
// not released. The Elector renews the Lease until the Runnables have stopped or the
// process exits.
func (m *electedManager) Start(ctx context.Context) error {
	if m.started.Swap(true) {
		return errAlreadyStarted
	}
	if ctx.Err() != nil {
		// ctx is already done, so the inner Manager must not win its election.
		m.gate.shut()
	}
	m.stopAsked = ctx.Done()
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	campaign, endCampaign := context.WithCancel(context.Background())
	m.stopInner, m.endCampaign = stopInner, endCampaign
	m.inner = begin(func() error {
		defer endCampaign()
		defer m.warmups.end()
		return m.runInner(inner)
	})
	m.campaign = begin(func() error { return m.runElector(campaign) })

	select {
	case <-m.stopAsked:
	case <-m.stopping:
	case <-m.inner.done:
	case <-m.campaign.done:
	case <-m.ended:
	}
	return m.observability.ended(m.stop())
}

// runInner runs the inner Manager, and returns the error that stopped it. It logs an
// error that the inner Manager returns although it was asked to stop before. Such an
// error comes from a Runnable that is not watched, for example from an HTTP server.
func (m *electedManager) runInner(ctx context.Context) error {
	err := m.Manager.Start(ctx)
	switch failure := m.failure.Load(); {
	case failure != nil && !errors.Is(*failure, errFailed):
		return *failure // the inner Manager may not have noticed this error before it was asked to stop
	case err == nil || failure != nil || !isDone(m.stopping): // without a stop, the inner Manager did not start
		return err
	}
	m.logLate(err)
	return nil
}

// runElector waits until the inner Manager is ready to lead, and then runs the Elector.
// A process that is not ready must not hold the Lease.
func (m *electedManager) runElector(ctx context.Context) error {
	select {
	case <-m.gate.asked:
	case <-ctx.Done():
		return nil
	}
	defer m.client.close()
	defer m.route.closeOwn(m.client)
	stopRecording := m.events.start()
	defer func() { stopRecording(m.eventsTimeout()) }()
	return m.elector.Run(ctx)
}

// eventsTimeout returns how long to wait until the last events have been sent. This
// time is two seconds in an orderly stop. After a loss of leadership, or if the Lease
// was not released, the process must exit sooner. The time is then a fortieth of the
// margin.
func (m *electedManager) eventsTimeout() time.Duration {
	lost := isDone(m.ended) && !errors.Is(m.cause, leaderelection.ErrSteppedDown)
	if lost || m.elector.GetLeader() == m.config.Identity {
		return m.config.Margin() / 40
	}
	return 2 * time.Second
}

// lead does the work of a term. It opens the gate, which makes the inner Manager lead,
// and waits until the inner Manager has stopped. The Elector releases the Lease only
// after lead has returned.
func (m *electedManager) lead(ctx context.Context) {
	if !m.gate.open(ctx) {
		m.route.withdraw()
		return
	}
	m.awaitInner(ctx)
	m.route.withdraw()
	if m.abandoned.Load() {
		// The grace period has expired, so the Lease must not be released. The Elector
		// would release the Lease if lead returned before the end of the campaign.
		<-m.campaign.done
	}
}

// awaitInner waits until the inner Manager has stopped. It removes the leader label as
// soon as the inner Manager begins to stop, because a Service must send no more
// requests to this process.
func (m *electedManager) awaitInner(ctx context.Context) {
	stopping, ended := m.stopping, ctx.Done()
	for {
		select {
		case <-stopping:
			stopping = nil
			m.route.withdraw()
		case <-ended:
			ended = nil
			m.endTerm(context.Cause(ctx))
		case <-m.inner.done:
			return
		}
	}
}

// endTerm is called when the term ends before the inner Manager has stopped. The
// parameter cause is the reason for the end of the term.
func (m *electedManager) endTerm(cause error) {
	if errors.Is(cause, leaderelection.ErrCancelled) {
		return // the campaign was cancelled because the inner Manager has stopped
	}
	m.gate.shut() // errors that Runnables return from now on are not the reason for the stop
	m.base.end(cause)
	m.cause = cause
	close(m.ended)
}

// stop stops the inner Manager and ends the campaign. It returns the error that Start
// returns.
func (m *electedManager) stop() error {
	if led := m.gate.shut(); !led {
		m.endCampaign()
	}
	grace, cancel := context.Background(), context.CancelFunc(func() {})
	if m.grace >= 0 {
		grace, cancel = context.WithTimeout(grace, m.grace)
	}
	defer cancel()
	asked := m.gate.asked
	for {
		select {
		case <-asked:
			// Stop the inner Manager only after its caches have synced. If its context
			// is cancelled while caches sync, controller-runtime waits in a busy loop.
			asked = nil
			m.stopInner()
		case <-m.inner.done:
			return m.finish(grace.Done())
		case <-m.ended:
			return m.finishEarly(grace.Done())
		case <-grace.Done():
			switch { // several channels may be ready at the same time
			case isDone(m.ended):
				return m.finishEarly(grace.Done())
			case isDone(m.inner.done):
				return m.finish(grace.Done())
			}
			return m.abandon()
		}
	}
}

// finish is called after the inner Manager has stopped, and ends the campaign. It
// returns when the Lease was released or when graceExpired is closed. If
// graceExpired is nil, finish waits without a time limit.
func (m *electedManager) finish(graceExpired <-chan struct{}) error {
	if isDone(m.ended) {
		return m.finishEarly(graceExpired)
	}
	m.base.end(leaderelection.ErrCancelled)
	m.endCampaign()
	select {
	case <-m.campaign.done:
		return join(m.inner.err, m.campaign.err)
	case <-graceExpired:
		m.logger.Error(nil, "Lease was not released within the grace period; candidates wait until it expires", "lease", m.gate.description)
		return m.inner.err
	}
}

// finishEarly is called if the term ends before the inner Manager has stopped. It ends
// the campaign, stops the inner Manager, and returns the error of Start. After StepDown
// it waits for the Runnables until graceExpired is closed. After a loss of
// leadership it waits for at most three quarters of the margin. The last quarter is left
// for the exit of the process.
func (m *electedManager) finishEarly(graceExpired <-chan struct{}) error {
	m.endCampaign()
	m.stopInner()
	if errors.Is(m.cause, leaderelection.ErrSteppedDown) {
		outcome := fmt.Errorf("manager: %w", m.cause)
		select {
		case <-m.campaign.done:
			return join(outcome, m.reason(), m.campaign.err)
		case <-graceExpired:
			return join(outcome, m.abandon())
		}
	}
	outcome := fmt.Errorf("%w: %w", ErrLeadershipLost, m.cause)
	timer := time.NewTimer(m.config.Margin() * 3 / 4)
	defer timer.Stop()
	select {
	case <-m.campaign.done:
		return join(outcome, m.reason(), m.campaign.err)
	case <-timer.C:
		return join(outcome, m.reason(), fmt.Errorf("%w, exit the process", leaderelection.ErrWorkStillRunning))
	}
}

// abandon makes Start return while Runnables still run. It cancels the contexts of
// these Runnables. The Elector continues to renew the Lease until the Runnables have
// returned or the process exits. Therefore no other candidate can lead while the
// Runnables run.
func (m *electedManager) abandon() error {
	m.abandoned.Store(true)
	if isDone(m.gate.asked) {
		m.base.end(context.DeadlineExceeded)
		m.stopInner()
	} else {
		begin(func() error { <-m.gate.asked; m.stopInner(); return nil })
	}
	reason := m.reason()
	if isDone(m.campaign.done) {
		reason = join(m.campaign.err, reason)
	}
	if m.grace == 0 {
		return reason
	}
	if m.gate.term.Load() != nil {
		m.logger.Error(nil, "Runnables did not stop within the grace period; exit the process (lease not released)", "lease", m.gate.description)
	}
	return join(reason, overran(m.grace))
}

// reason returns the error that stopped the Manager. It returns nil if the Manager was
// asked to stop before an error occurred.
func (m *electedManager) reason() error {
	if isDone(m.inner.done) {
		return m.inner.err
	}
	if failure := m.failure.Load(); failure != nil {
		return *failure
	}
	return nil
}

func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
