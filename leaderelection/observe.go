package leaderelection

import (
	"context"
	"errors"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/watch"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/leasewatch"
)

// A leader is the last observed holder of the Lease. GetLeader returns its identity
// until the Lease expires.
type leader struct {
	identity string
	until    time.Time // when the Lease expires; zero if it does not expire
}

// observed contains what an elector has learned from observations of the Lease.
type observed struct {
	state        leasestate.State
	seq          uint64        // the last sequence number; sequence numbers order reads, replies and observations
	loggedLeader string        // the leader that was last written to the log
	duplicates   int           // number of consecutive writes of the Lease by another process with the same identity
	absentSeq    uint64        // sequence number of the last read that found no Lease
	claimDelay   time.Duration // how long this elector waits before it claims a released Lease, if another follower is the successor
	watching     bool          // true while a watch is open
	watchRefused bool          // true while the watch is forbidden, to log this only once
	newsAt       time.Time     // when an observation last changed the field state, or when the last read ended
	readAt       time.Time     // when the last read ended, or when a read was last found unnecessary
}

// duplicateLimit is how many consecutive writes under this elector's identity prove a
// duplicate process. Two prove nothing: an earlier process with this identity may have
// left a record, and its last request may arrive late.
const duplicateLimit = 3

// observe processes an observation from any source. It reports whether o is newer than
// the observed state.
func (e *Elector) observe(o leasestate.Observation) (news bool) {
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	return e.observeLocked(o)
}

// observeLocked applies o first to the claim or the held Lease, and then to the
// observed state. It reports whether o is newer than the observed state. The method
// unlock writes the resulting log lines and sends the notifications.
func (e *Elector) observeLocked(o leasestate.Observation) (news bool) {
	if refused := e.writes.refused; o.ReadSeq > refused.seq && o.Version != 0 && o.Version < refused.base {
		o.Rewound = true
		e.writes.refused = refusal{}
	}
	if e.held.isConfirmed() {
		e.evaluateLocked(o)
	} else if w, ok := e.writes.unacknowledged.Find(e.config.Identity, o.Lease); ok && o.Lease != nil && (o.ReadSeq != 0 || !e.isDoubtedLocked(w)) {
		e.confirmLocked(w, o.Lease)
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
	if leasestate.RenewTime(before.Lease) != leasestate.RenewTime(next.Lease) { // only a renewal changes renewTime; a manual edit normally keeps it
		e.countDuplicatesLocked(next.Lease)
	}
	e.reportLeaderLocked(next)
	return true
}

// isDoubtedLocked reports whether a read that was sent after the write w found no
// Lease. The Lease may then have been deleted after w was applied. Therefore a watch
// event that shows w does not confirm a doubted write.
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
// under this identity. lease is the newly observed Lease.
func (e *Elector) countDuplicatesLocked(lease *coordinationv1.Lease) {
	switch {
	case leasestate.Holder(lease) != e.config.Identity || e.wroteLocked(lease):
		e.observed.duplicates = 0
	case slices.Contains(e.writes.issued, leasestate.RenewTime(lease)):
		// This elector itself sent the write and no longer waits for the reply. The
		// server may apply such a write late if the database was restored from a
		// backup.
	default:
		e.observed.duplicates++
	}
}

// reportLeaderLocked stores the leader in the state s for GetLeader. It also reports
// this leader to OnNewLeader, the Traces and the log.
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

// follow is the loop of the observer. It watches the Lease until ctx is done. It also
// reads the Lease if no observation has changed e.observed.state for silenceTimeout.
// Therefore the elector observes each change at least as early as a poll of client-go's
// elector would, even if the watch is refused, stalls or ends.
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
	_, _ = e.read(ctx, e.readTimeout()) // requestHealth logs a failure, and the loop reads the Lease again
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
			w.Restart(e.config.longestPoll()) // the watch should have reported this change
		}
	}
}

// awaitSilence waits until the observer should read the Lease. It returns true as soon
// as requestRead was called. It returns false when no observation has changed
// e.observed.state for silenceTimeout, or when ctx is done.
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

// silence returns two results. The result watching reports whether a watch is open. The
// result quiet is normally the time since an observation last changed e.observed.state.
// While reads fail, quiet is the time since the last read, and therefore the observer
// repeats the read even if a watch reports changes.
func (e *Elector) silence() (quiet time.Duration, watching bool) {
	e.mu.Lock()
	defer e.unlock()
	since := e.observed.newsAt
	if e.requests.readsFail() {
		since = e.observed.readAt
	}
	return time.Since(since), e.observed.watching
}

// needsNoRead reports whether a read would show nothing new, because the replies to this
// elector's own writes show the state of the Lease.
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

// noteReadLocked records that the Lease was just read, or that no read is needed now.
func (e *Elector) noteReadLocked() {
	now := time.Now()
	e.observed.newsAt, e.observed.readAt = now, now
}

// read reads the Lease and processes the result as an observation. The read takes at
// most timeout. news is true if the result is newer than the observed state. If the
// read fails because the context parent is done, no failure is recorded.
func (e *Elector) read(parent context.Context, timeout time.Duration) (news bool, err error) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	seq, sent := e.nextSeq(), time.Now()
	lease, err := e.store.get(ctx)
	e.requestDone(RequestRead, sent, err)
	e.mu.Lock()
	defer e.unlock()
	defer e.noteReadLocked()
	if err == nil || parent.Err() == nil {
		e.noteResultLocked(&e.requests.reads, "read", err)
	}
	if err != nil {
		return false, err
	}
	if lease == nil {
		e.observed.absentSeq = seq
	}
	e.observed.seq++
	news = e.observeLocked(leasestate.Observation{Lease: lease, Version: leasestate.Version(lease), At: time.Now(), ReadSeq: seq})
	// Forget each write that was refused before this read was sent, because the read
	// would show the write if it had been applied. Keep each write whose request ended
	// in a reset or a timeout, because the server may still apply the write.
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(w leasestate.Write) bool {
		return w.Refused && w.FailedSeq < seq && w.RenewTime != leasestate.RenewTime(e.observed.state.Lease)
	})
	return news, nil
}

// nextSeq returns a new sequence number. The number is greater than all sequence
// numbers that were used before.
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

// requestDone reports a request to the traces and records when the API server last
// answered. sent is when the request was sent, and err is its result.
func (e *Elector) requestDone(name string, sent time.Time, err error) {
	now := time.Now()
	if err == nil || isConflict(err) {
		e.contact.Store(&now)
	}
	r := Request{For: name, Sent: sent, Took: now.Sub(sent), Err: err, Failure: failureOf(err)}
	if r.Failure == FailureCanceled && r.Took >= e.config.attemptTimeout() {
		r.Failure = failureOf(context.DeadlineExceeded) // the answer was late, and another request was sent instead
	}
	e.tracer.request(r)
}

// noteResultLocked records the result of a read or a write in f, and logs a change.
func (e *Elector) noteResultLocked(f *requestFailure, operation string, err error) {
	if logChange := f.update(operation, err, e.log); logChange != nil {
		e.afterUnlock(logChange)
		e.signalLocked()
	}
}

// observeEvent processes an event of a watch. It ignores events of other Leases,
// because some servers ignore field selectors. On a server without resourceVersions,
// observeEvent only requests a read, because a late event cannot be recognized.
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

// watchChanged records whether the watch is open. It logs once if the watch is
// forbidden, and once when the watch is allowed again.
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

// observedLease returns the Lease as it was last observed. It returns nil if the Lease
// does not exist.
func (e *Elector) observedLease() *coordinationv1.Lease {
	e.mu.Lock()
	defer e.unlock()
	return e.observed.state.Lease
}

// A singleFlight lets concurrent calls of Confirm share one read. If each call sent a
// read, a client with a low rate limit would have no requests left for renewals.
type singleFlight struct {
	turn  chan struct{} // has a capacity of one, and is full while a caller reads the Lease; guards the other fields
	began uint64        // sequence number at which the last shared read began
	err   error         // the error of the last shared read
}

// readSince returns the error of a read of the Lease whose sequence number is greater
// than seq. If no caller has sent such a read yet, readSince sends it.
func (e *Elector) readSince(ctx context.Context, seq uint64) error {
	f := &e.confirmReads
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if f.began > seq {
		return f.err
	}
	began, timeout := e.nextSeq(), e.readTimeout()
	deadline, short := ctx.Deadline()
	short = short && time.Until(deadline) < timeout
	_, err := e.read(ctx, timeout)
	if err == nil || !short && ctx.Err() == nil { // do not share an error that may be due to this caller's short deadline
		f.began, f.err = began, err
	}
	return err
}
