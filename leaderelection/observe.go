package leaderelection

import (
	"context"
	"errors"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/leasewatch"
)

// A leader is the last observed holder of the Lease. GetLeader returns its identity
// until the Lease expires.
type leader struct {
	identity string
	until    time.Time // when the Lease expires; zero if it does not expire
}

// observed contains the results of an elector's observations of the Lease.
type observed struct {
	state        leasestate.State
	seq          uint64        // the last sequence number that was used
	loggedLeader string        // the leader that was last written to the log
	duplicates   int           // number of consecutive writes of the Lease by another process with the same identity
	readSeq      uint64        // sequence number at which the last successful read was sent
	absentSeq    uint64        // sequence number of the last read that found no Lease
	absentAt     uint64        // sequence number at which the reply to that read arrived
	claimDelay   time.Duration // how long this elector waits before it claims a released Lease, unless it is the successor
	watching     bool          // true while a watch is open
	watchRefused bool          // true if it was logged that the watch is forbidden
	newsAt       time.Time     // when a newer observation last arrived, or when the last read ended
	readAt       time.Time     // when the last read ended, or was found unnecessary
}

// duplicateLimit is the number of consecutive writes under this elector's identity that
// prove a duplicate process. Two writes are not enough, because both may come from an
// earlier process that has exited.
const duplicateLimit = 3

// observe processes the observation o. It reports whether o is newer than
// the observed state.
func (e *Elector) observe(o leasestate.Observation) (news bool) {
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	return e.observeLocked(o)
}

// observeLocked applies o first to the claim or the held Lease, and then to the
// observed state. It reports whether o is newer than the observed state.
func (e *Elector) observeLocked(o leasestate.Observation) (news bool) {
	if refused := e.writes.refused; o.ReadSeq > refused.seq && o.Version != 0 && o.Version < refused.base {
		o.Rewound = true
		e.writes.refused = refusal{}
	}
	if o.ReadSeq != 0 {
		e.noteReadOfWritesLocked(o)
	}
	if e.held.isConfirmed() {
		e.evaluateLocked(o)
	} else if w, ok := e.writes.unacknowledged.Find(e.config.Identity, o.Lease); ok && o.Lease != nil && !e.isDoubtedLocked(w) {
		e.confirmLocked(w, o.Lease)
	}

	if h := e.held; h.isLive() && h.LaterTrust(o) {
		e.extendTrustLocked(h.Write.Pending.Sent)
	}

	before := e.observed.state
	next, news := before.After(o, e.observed.seq, e.wroteLocked(before.Lease))
	if !news {
		return false
	}
	e.observed.state, e.observed.newsAt = next, o.At
	defer e.signalLocked()
	if before.Known && leasestate.SameRecord(before.Lease, next.Lease) {
		return true
	}
	e.observed.claimDelay = claimDelay()
	if leasestate.RenewTime(before.Lease) != leasestate.RenewTime(next.Lease) { // a manual edit normally keeps renewTime
		e.countDuplicatesLocked(next.Lease)
	}
	e.reportLeaderLocked(next)
	return true
}

// noteReadOfWritesLocked records what the read o shows about this elector's writes.
func (e *Elector) noteReadOfWritesLocked(o leasestate.Observation) {
	e.observed.readSeq = max(e.observed.readSeq, o.ReadSeq)
	e.writes.unacknowledged = e.writes.unacknowledged.AfterRead(o, e.observed.seq)
	e.explainConflictLocked(o)
	if o.Lease == nil {
		if o.ReadSeq > e.observed.absentSeq {
			e.observed.absentSeq, e.observed.absentAt = o.ReadSeq, e.observed.seq
		}
	} else if w, ok := e.writes.unacknowledged.Find(e.config.Identity, o.Lease); ok && e.isDoubtedLocked(w) && o.ReadSeq > e.observed.absentAt {
		e.observed.absentSeq = w.Seq // the Lease was created after the read that found no Lease
	}
}

// isDoubtedLocked reports whether a read that was sent after the write w found no
// Lease. A watch event does not confirm such a write, because the Lease may have been
// deleted after the write.
func (e *Elector) isDoubtedLocked(w leasestate.Write) bool { return w.Seq < e.observed.absentSeq }

// evaluateLocked applies an observation to the held Lease.
func (e *Elector) evaluateLocked(o leasestate.Observation) {
	h := e.held
	if !h.isLive() {
		return
	}
	switch outcome := h.Evaluate(o, e.writes.unacknowledged); {
	case outcome.Loss != leasestate.NotLost:
		e.loseLocked(lossCauses[outcome.Loss])
	case outcome.Confirmed != nil:
		e.confirmHeldLocked(*outcome.Confirmed, outcome.Adopt)
		e.signalLocked()
	case outcome.Adopt != nil:
		h.Lease, h.Version = outcome.Adopt, leasestate.Version(outcome.Adopt)
	}
}

// countDuplicatesLocked updates the number of consecutive writes by another process
// with this elector's identity. lease is the newly observed Lease.
func (e *Elector) countDuplicatesLocked(lease *coordinationv1.Lease) {
	switch {
	case leasestate.Holder(lease) != e.config.Identity || e.wroteLocked(lease):
		e.observed.duplicates = 0
	case slices.Contains(e.writes.issued, leasestate.RenewTime(lease)):
		// This elector sent the write.
	default:
		e.observed.duplicates++
	}
}

// reportLeaderLocked stores the leader for GetLeader. It also reports the leader to
// OnNewLeader, the Traces and the log.
func (e *Elector) reportLeaderLocked(s leasestate.State) {
	identity := s.Holder()
	e.leader.Store(&leader{identity: identity, until: s.HeldUntil()})
	foreign := identity != "" && identity != e.config.Identity
	if foreign {
		e.cooldownUntil = time.Time{}
		e.requests.forgetWrites()
	}
	changed := identity != e.observed.loggedLeader
	e.observed.loggedLeader = identity
	e.afterUnlock(func() {
		e.notifier.Offer(identity)
		switch {
		case !changed:
		case identity == "":
			e.tracer.leaderObserved(identity)
			e.log.Info("Lease is free")
		default:
			e.tracer.leaderObserved(identity)
			e.log.Info("New leader observed", "leader", identity)
		}
	})
}

// followsAnother reports whether another candidate leads.
func (e *Elector) followsAnother() bool {
	leader := e.GetLeader()
	return leader != "" && leader != e.config.Identity
}

// follow is the loop of the observer. It watches the Lease until ctx is
// done. If no newer observation arrives for silenceTimeout, it reads the Lease.
// Therefore the elector also observes changes that the watch does not report.
func (e *Elector) follow(ctx context.Context) {
	w := e.options.shared.join(e)
	if w != nil {
		defer e.options.shared.leave(e)
	} else {
		w = &leasewatch.Watch{
			Open: e.store.watch, ConnectTimeout: e.config.shortestRead(),
			Backoff: e.config.watchBackoff(), Jitter: watchJitter,
			Event: e.observeEvent, Changed: e.watchChanged,
		}
		e.tasks.Run(func() { w.Run(ctx) })
	}
	_, _ = e.read(ctx, e.readTimeout()) // read logs a failure
	for {
		requested := e.awaitSilence(ctx)
		if ctx.Err() != nil {
			return
		}
		if !requested && e.needsNoRead() {
			continue
		}
		news, err := e.read(ctx, e.readTimeout())
		if err == nil && news && !requested {
			w.Restart(e.config.longestPoll()) // the watch did not report this change
		}
	}
}

// awaitSilence waits until the observer should read the Lease. It returns true when
// requestRead is called. It returns false when no newer observation has arrived for
// silenceTimeout, or when ctx is done.
func (e *Elector) awaitSilence(ctx context.Context) (requested bool) {
	quiet, watching := e.silence()
	timeout := e.config.silenceTimeout(watching)
	for ; quiet < timeout; quiet, _ = e.silence() {
		e.observerHeartbeat.Within(timeout - quiet + e.config.longestRead())
		timer := time.NewTimer(timeout - quiet)
		select {
		case <-ctx.Done():
		case <-e.readRequests:
			requested = true
		case <-timer.C:
		}
		timer.Stop()
		if requested || ctx.Err() != nil {
			return requested
		}
	}
	return false
}

// silence returns how long no newer observation has arrived, and whether a
// watch is open. While reads fail, the first result is the time since the last read.
func (e *Elector) silence() (quiet time.Duration, watching bool) {
	e.mu.Lock()
	defer e.unlock()
	since := e.observed.newsAt
	if e.requests.readsFail() {
		since = e.observed.readAt
	}
	return time.Since(since), e.observed.watching
}

// needsNoRead reports whether the observer can omit a read. While this elector holds
// the Lease, the replies to its own writes show the state of the Lease.
func (e *Elector) needsNoRead() bool {
	e.mu.Lock()
	defer e.unlock()
	if !e.held.isConfirmed() || e.requests.readsFail() {
		return false
	}
	e.noteReadLocked()
	return true
}

// requestRead makes the observer read the Lease soon.
func (e *Elector) requestRead() {
	select {
	case e.readRequests <- struct{}{}:
	default: // a read is requested already
	}
}

// noteReadLocked records that the Lease was read, or that no read is needed.
func (e *Elector) noteReadLocked() {
	now := time.Now()
	e.observed.newsAt, e.observed.readAt = now, now
}

// read reads the Lease and processes the result as an observation. The read
// takes at most timeout. news is true if the observation is newer than the
// observed state. If the context parent is done, read records no failure.
func (e *Elector) read(parent context.Context, timeout time.Duration) (news bool, err error) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	seq, sent := e.nextSeq(), clock.Now()
	lease, err := e.store.get(ctx)
	e.requestDone(RequestRead, sent.Time(), err)
	e.mu.Lock()
	defer e.unlock()
	defer e.noteReadLocked()
	if err == nil || parent.Err() == nil {
		e.noteResultLocked(&e.requests.reads, "read", err)
	}
	if err != nil {
		return false, err
	}
	e.observed.seq++
	news = e.observeLocked(leasestate.Observation{Lease: lease, Version: leasestate.Version(lease), At: time.Now(), ReadSeq: seq, Sent: sent})
	// Remove each write that was refused before this read was sent, because it cannot
	// be applied any more. Keep each write whose request ended in a reset or a timeout,
	// because the server may still apply the write.
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(w leasestate.Write) bool {
		return w.Refused && w.FailedSeq < seq && w.RenewTime != leasestate.RenewTime(e.observed.state.Lease)
	})
	return news, nil
}

// nextSeq returns a sequence number that is greater than all earlier sequence numbers.
func (e *Elector) nextSeq() uint64 {
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	return e.observed.seq
}

// readTimeout returns the timeout for a read that is sent now.
func (e *Elector) readTimeout() time.Duration {
	if contact := e.contact.Load(); contact != nil {
		return e.config.readTimeout(time.Since(*contact))
	}
	return e.config.shortestRead()
}

// requestDone reports a request to the Traces and records when the API server last
// answered. sent is when the request was sent, and err is the error of
// the request.
func (e *Elector) requestDone(name string, sent time.Time, err error) {
	now := time.Now()
	if err == nil || isConflict(err) {
		e.contact.Store(&now)
	}
	r := Request{For: name, Sent: sent, Took: now.Sub(sent), Err: err, Failure: failureOf(err)}
	if r.Failure == FailureCanceled && r.Took >= e.config.attemptTimeout() {
		r.Failure = failureOf(context.DeadlineExceeded) // cancelled because there was no answer
	}
	e.tracer.request(r)
}

// noteResultLocked records in f the result of a read or a write. It logs a change of f.
func (e *Elector) noteResultLocked(f *requestFailure, operation string, err error) {
	if logChange := f.update(operation, err, e.log); logChange != nil {
		e.afterUnlock(logChange)
		e.signalLocked()
	}
}

// observeEvent processes a watch event. It ignores events of other Leases. On a server
// without resourceVersions, observeEvent only requests a read, because a late event
// cannot be recognized.
func (e *Elector) observeEvent(event watch.Event) {
	lease := leasewatch.LeaseOf(event)
	if lease == nil || lease.Name != e.config.LeaseName || lease.Namespace != e.config.LeaseNamespace {
		return
	}
	o := leasestate.Observation{Lease: lease, Version: leasestate.Version(lease), At: time.Now()}
	e.contact.Store(&o.At)
	if o.Version == 0 {
		e.requestRead()
		return
	}
	if event.Type == watch.Deleted {
		o.Lease = nil
	}
	e.observe(o)
}

// watchChanged records whether the watch is open. It logs a message when the watch
// becomes forbidden, and when the watch is allowed again.
func (e *Elector) watchChanged(open bool, err error) {
	e.mu.Lock()
	defer e.unlock()
	if e.observed.watching != open {
		e.observed.watching = open
		e.signalLocked()
	}
	if err != nil && !open && !errors.Is(err, leasewatch.ErrEnded) && !errors.Is(err, context.Canceled) {
		r := Request{For: RequestWatch, Sent: time.Now(), Err: err, Failure: failureOf(err)}
		e.afterUnlock(func() { e.tracer.request(r) })
	}
	switch forbidden := isWatchForbidden(err); {
	case forbidden && !e.observed.watchRefused:
		e.observed.watchRefused = true
		e.afterUnlock(func() { e.log.Warn("Watching the lease is forbidden; polling instead", "missing", "watch", "err", err) })
	case open && e.observed.watchRefused:
		e.observed.watchRefused = false
		e.afterUnlock(func() { e.log.Info("Watching the lease is allowed again") })
	case err != nil && !forbidden:
		e.afterUnlock(func() { e.log.Debug("Watch ended; opening a new one", "err", err) })
	}
}

// observedLease returns the last observed Lease. It returns nil if the Lease does not
// exist.
func (e *Elector) observedLease() *coordinationv1.Lease {
	e.mu.Lock()
	defer e.unlock()
	return e.observed.state.Lease
}
