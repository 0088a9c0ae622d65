package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A task is a goroutine that returns an error.
type task struct {
	done chan struct{} // closed after it has returned
	err  error         // its result, set before done is closed
}

func begin(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// Start runs the Manager until ctx is done, a Runnable fails, or its term as leader ends.
// It returns after all Runnables have stopped and the Lease was released, or when
// GracefulShutdownTimeout has expired. In the second case the Lease is not released. The
// Elector renews it until the Runnables have stopped or the process exits.
func (m *electedManager) Start(ctx context.Context) error {
	if m.started.Swap(true) {
		return errAlreadyStarted
	}
	if ctx.Err() != nil {
		m.gate.shut() // otherwise the election may win before ctx is checked
	}
	inner, stopInner := context.WithCancel(context.WithoutCancel(ctx))
	campaign, endCampaign := context.WithCancel(context.Background())
	m.stopInner, m.endCampaign = stopInner, endCampaign
	m.inner = begin(func() error {
		defer endCampaign()
		defer m.warmups.end()
		return m.Manager.Start(inner)
	})
	m.campaign = begin(func() error { return m.runElector(campaign) })

	var reason error
	select {
	case <-ctx.Done():
	case <-m.stopping:
		reason = errFailed
	case <-m.inner.done:
	case <-m.campaign.done:
		reason = m.campaign.err
	case <-m.ended:
	}
	return m.stop(reason)
}

// runElector campaigns once the inner Manager is ready to lead, because an unready
// process must not hold the Lease.
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

// eventsTimeout returns how long to wait for the last events. After a release there is
// time. After a loss there is little, and the API server may not respond.
func (m *electedManager) eventsTimeout() time.Duration {
	lost := isClosed(m.ended) && !errors.Is(m.cause, leaderelection.ErrSteppedDown)
	if lost || m.elector.GetLeader() == m.config.Identity {
		return m.config.Margin() / 40
	}
	return 2 * time.Second
}

// lead is the work of a term. It opens the gate and waits for the inner Manager. The
// Lease is released only after it has returned.
func (m *electedManager) lead(ctx context.Context) {
	if !m.gate.open(ctx) {
		m.route.withdraw()
		return
	}
	m.awaitInner(ctx)
	m.route.withdraw()
	if m.abandoned.Load() {
		<-m.campaign.done // never happens, so the Lease is not released
	}
}

// awaitInner waits until the inner Manager has stopped. When it begins to stop, the
// label is removed, so that a Service sends no more requests to this process.
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

// endTerm is called if the term ends before the inner Manager has stopped.
func (m *electedManager) endTerm(cause error) {
	if errors.Is(cause, leaderelection.ErrCancelled) {
		return // the campaign was cancelled because the inner Manager has stopped
	}
	m.base.end(cause)
	m.cause = cause
	close(m.ended)
}

// stop stops the Manager: it shuts the gate, stops the inner Manager, and ends the
// campaign, in this order. A leader renews its Lease until the campaign ends. reason is
// nil if the context of Start is done.
func (m *electedManager) stop(reason error) error {
	if led := m.gate.shut(); !led {
		m.endCampaign()
	}
	var graceExpired <-chan time.Time
	if m.grace >= 0 {
		timer := time.NewTimer(m.grace)
		defer timer.Stop()
		graceExpired = timer.C
	}
	asked := m.gate.asked
	for {
		select {
		case <-asked:
			// Do not stop the inner Manager earlier. If its context is cancelled while
			// caches sync, controller-runtime waits in a busy loop.
			asked = nil
			m.stopInner()
		case <-m.inner.done:
			return m.finish(graceExpired)
		case <-m.ended:
			return m.finishEarly()
		case <-graceExpired:
			return m.abandon(reason)
		}
	}
}

// finish ends the campaign after the inner Manager has stopped. It returns when the
// Lease was released or the grace period has expired.
func (m *electedManager) finish(graceExpired <-chan time.Time) error {
	if isClosed(m.ended) {
		return m.finishEarly()
	}
	m.base.end(leaderelection.ErrCancelled)
	m.endCampaign()
	select {
	case <-m.campaign.done:
		return join(m.inner.err, m.campaign.err)
	case <-graceExpired:
		m.logger.Info("Lease was not released within the grace period", "lease", m.gate.description)
		return m.inner.err
	}
}

// finishEarly is called if the term ended before the inner Manager has stopped. After a
// loss it returns while at least a quarter of the margin is left before other candidates
// may claim the Lease, so that the process can exit in time.
func (m *electedManager) finishEarly() error {
	m.gate.shut()
	m.endCampaign()
	m.stopInner()
	outcome := fmt.Errorf("%w: %w", ErrLeadershipLost, m.cause)
	var limit <-chan time.Time
	if errors.Is(m.cause, leaderelection.ErrSteppedDown) {
		outcome = fmt.Errorf("manager: %w", m.cause)
	} else {
		timer := time.NewTimer(m.config.Margin() * 3 / 4)
		defer timer.Stop()
		limit = timer.C
	}
	select {
	case <-m.campaign.done:
		return join(outcome, m.innerError(), m.campaign.err)
	case <-limit:
		return join(outcome, m.innerError(), fmt.Errorf("%w, exit the process", leaderelection.ErrWorkStillRunning))
	}
}

// abandon ends Start while Runnables still run. Their contexts are cancelled. The Elector
// continues to renew the Lease in the background, so other candidates wait for these
// Runnables until the process exits. If caches have not synced, the inner Manager is
// stopped after they have synced.
func (m *electedManager) abandon(reason error) error {
	m.abandoned.Store(true)
	if isClosed(m.inner.done) {
		return m.finish(nil)
	}
	if isClosed(m.gate.asked) {
		m.base.end(context.DeadlineExceeded)
		m.stopInner()
	} else {
		begin(func() error { <-m.gate.asked; m.stopInner(); return nil })
	}
	if failure := m.failure.Load(); failure != nil && reason != nil {
		reason = *failure
	}
	if m.grace == 0 {
		return reason
	}
	return join(reason, fmt.Errorf("failed waiting for all runnables to end within grace period of %s: %w: %w",
		m.grace, context.DeadlineExceeded, leaderelection.ErrWorkStillRunning))
}

// innerError returns the inner Manager's error if it is known and not a cancellation.
func (m *electedManager) innerError() error {
	if !isClosed(m.inner.done) {
		if failure := m.failure.Load(); failure != nil {
			return *failure
		}
		return nil
	}
	if errors.Is(m.inner.err, context.Canceled) {
		return nil
	}
	return m.inner.err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
