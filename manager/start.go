package manager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A task is a goroutine of an electedManager.
type task struct {
	done chan struct{} // closed when it has returned
	err  error         // then: what it returned
}

func begin(f func() error) *task {
	t := &task{done: make(chan struct{})}
	go func() {
		defer close(t.done)
		t.err = f()
	}()
	return t
}

// Start runs the Manager until ctx is done, one of its Runnables fails, or its
// term as leader ends. It returns when all Runnables have stopped and the Lease
// was released, or when GracefulShutdownTimeout has passed: then nothing is
// released, and the Lease goes on being renewed for as long as they run and the
// process lives.
func (m *electedManager) Start(ctx context.Context) error {
	if m.started.Swap(true) {
		return errAlreadyStarted
	}
	if ctx.Err() != nil {
		m.gate.shut() // or it may win before the end is noticed
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

// runElector campaigns from the moment at which the inner Manager is ready to
// lead: one that is not must not hold the Lease.
func (m *electedManager) runElector(ctx context.Context) error {
	select {
	case <-m.gate.asked:
	case <-ctx.Done():
		return nil
	}
	defer m.client.close()
	defer m.route.closeOwn(m.client)
	stopRecording := m.events.start()
	defer func() { stopRecording(m.patienceWithEvents()) }()
	return m.elector.Run(ctx)
}

// patienceWithEvents is how long the last events are waited for. Who has given the
// Lease back has time. Whose term ended in another way has not, and the API server
// may be silent.
func (m *electedManager) patienceWithEvents() time.Duration {
	lost := isClosed(m.ended) && !errors.Is(m.cause, leaderelection.ErrSteppedDown)
	if lost || m.elector.GetLeader() == m.config.Identity {
		return m.config.Margin() / 40
	}
	return 2 * time.Second
}

// lead is the work of a term: what the inner Manager does from now on. The Lease
// is not released before it returns.
func (m *electedManager) lead(ctx context.Context) {
	if !m.gate.open(ctx) {
		m.route.withdraw()
		return
	}
	m.awaitInner(ctx)
	m.route.withdraw()
	if m.abandoned.Load() {
		<-m.campaign.done // it never releases the Lease then
	}
}

// awaitInner waits until the inner Manager has stopped. Once it begins to, nothing
// more is to be sent to this process.
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

// endTerm is called when the term is over and the inner Manager is not.
func (m *electedManager) endTerm(cause error) {
	if errors.Is(cause, leaderelection.ErrCancelled) {
		return // by us, for the inner Manager has just stopped
	}
	m.base.end(cause)
	m.cause = cause
	close(m.ended)
}

// stop is the one way in which a Manager stops, for that reason if it is not its
// context: shut the gate, stop the inner Manager, end the campaign. A Manager
// that leads goes on renewing in between.
func (m *electedManager) stop(reason error) error {
	if led := m.gate.shut(); !led {
		m.endCampaign()
	}
	var patience <-chan time.Time
	if m.grace >= 0 {
		timer := time.NewTimer(m.grace)
		defer timer.Stop()
		patience = timer.C
	}
	asked := m.gate.asked
	for {
		select {
		case <-asked:
			// Not before: while caches sync, controller-runtime waits for a Manager
			// that was told to stop in a loop without a pause.
			asked = nil
			m.stopInner()
		case <-m.inner.done:
			return m.finish(patience)
		case <-m.ended:
			return m.leave()
		case <-patience:
			return m.abandon(reason)
		}
	}
}

// finish returns once the Lease was released for an inner Manager that has
// stopped, or patience is at its end.
func (m *electedManager) finish(patience <-chan time.Time) error {
	if isClosed(m.ended) {
		return m.leave()
	}
	m.base.end(leaderelection.ErrCancelled)
	m.endCampaign()
	select {
	case <-m.campaign.done:
		return join(m.inner.err, m.campaign.err)
	case <-patience:
		m.logger.Info("The Lease was not released within the grace period, and may still be", "lease", m.gate.description)
		return m.inner.err
	}
}

// leave is what follows when a term ended before the inner Manager had stopped.
// After a loss it returns at the latest when a quarter of the margin is left
// before others may claim the Lease: time for the process to exit in.
func (m *electedManager) leave() error {
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
		return join(outcome, m.innerError(), fmt.Errorf("%w: exit the process", leaderelection.ErrWorkStillRunning))
	}
}

// abandon returns from Start although work is still running. Its contexts are
// cancelled, and the Elector goes on in the background: others wait for this
// work if the process does not exit. A Manager whose caches do not sync stops
// when they do.
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

// innerError is the inner Manager's, if it is known and says anything.
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
