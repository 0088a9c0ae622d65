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

// A leader is the holder that GetLeader returns.
type leader struct {
	identity string
	until    time.Time // zero: without end
}

// observed is what an elector knows of the Lease from its observations.
type observed struct {
	state        leasestate.State
	seq          uint64        // the last sequence number; it orders reads, replies and observations
	loggedLeader string        // the leader that the log named last
	duplicates   int           // consecutive records under this identity that this elector did not write
	absentSeq    uint64        // sequence number of the last read that found no Lease
	claimDelay   time.Duration // how much later than the successor this elector claims
	watching     bool          // a watch is open
	watchRefused bool          // that was logged
	newsAt       time.Time     // when there was news of the Lease
	readAt       time.Time     // when a read ended, or was not needed
}

// duplicateLimit is the number of consecutive foreign records under this identity that
// prove another process with the same identity. The first may be left over from an
// earlier process, and the second may be that process's last request.
const duplicateLimit = 3

// observe takes in an observation, whichever source reported it. It reports whether it
// was news.
func (e *Elector) observe(o leasestate.Observation) (news bool) {
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	return e.observeLocked(o)
}

// observeLocked lets an observation act on the claim or hold first, and then on what is
// known of the Lease. Log lines and notifications are applied by unlock.
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
	if leasestate.RenewTime(before.Lease) != leasestate.RenewTime(next.Lease) { // a manual edit of an old record is no renewal
		e.countDuplicatesLocked(next.Lease)
	}
	e.reportLeaderLocked(next)
	return true
}

// isDoubtedLocked reports whether a read that was sent after w found no Lease. An event of
// a watch is then no proof that w still stands, because the event may be older than the
// deletion. The elector claims again instead.
func (e *Elector) isDoubtedLocked(w leasestate.Write) bool { return w.Seq < e.observed.absentSeq }

// evaluateLocked lets an observation act on the held Lease.
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

// countDuplicatesLocked counts the records under this identity that another process
// wrote.
func (e *Elector) countDuplicatesLocked(lease *coordinationv1.Lease) {
	switch {
	case leasestate.Holder(lease) != e.config.Identity || e.wroteLocked(lease):
		e.observed.duplicates = 0
	case slices.Contains(e.writes.issued, leasestate.RenewTime(lease)):
		// In a restored history, late writes of this elector are applied long after they
		// were given up.
	default:
		e.observed.duplicates++
	}
}

// reportLeaderLocked passes the leader on to GetLeader, OnNewLeader, the traces and the
// log.
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

// follow is the observer's story. It watches the Lease until ctx is done, and reads it
// whenever there was no news for as long as client-go's electors may take from one read
// to the next. A watch that is refused, stalls or ends therefore costs no more time than
// polling.
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
	_, _ = e.read(ctx, e.readTimeout()) // requestHealth logs a failure, and the next read follows
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
			w.Restart(e.config.longestPoll()) // the watch should have reported that
		}
	}
}

// awaitSilence returns when there was no news for silenceTimeout. It returns true
// earlier if a read was requested.
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

// silence returns the time since the last news of the Lease, and whether it is watched.
// While reads fail it returns the time since the last read, because only another read
// can show that reads succeed again.
func (e *Elector) silence() (quiet time.Duration, watching bool) {
	e.mu.Lock()
	defer e.unlock()
	since := e.observed.newsAt
	if e.requests.readsFail() {
		since = e.observed.readAt
	}
	return time.Since(since), e.observed.watching
}

// needsNoRead reports whether the replies to this elector's own writes show the state of
// the Lease. A read would then show nothing new.
func (e *Elector) needsNoRead() bool {
	e.mu.Lock()
	defer e.unlock()
	if !e.held.isConfirmed() || e.requests.readsFail() {
		return false
	}
	e.noteReadLocked()
	return true
}

// requestRead asks the observer to read the Lease.
func (e *Elector) requestRead() {
	select {
	case e.readRequests <- struct{}{}:
	default: // a read is requested already
	}
}

// noteReadLocked records that the Lease was read, or need not be read now.
func (e *Elector) noteReadLocked() {
	now := time.Now()
	e.observed.newsAt, e.observed.readAt = now, now
}

// read reads the Lease, for at most timeout, and takes in the result. It reports whether
// that was news. If parent ends, the read has not failed.
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
	// Forget writes that were refused before this read was sent. If one of them had been
	// applied after all, the read has shown it. A write whose request ended otherwise, in a
	// reset or a timeout, may still be applied.
	e.writes.unacknowledged = e.writes.unacknowledged.Without(func(w leasestate.Write) bool {
		return w.Refused && w.FailedSeq < seq && w.RenewTime != leasestate.RenewTime(e.observed.state.Lease)
	})
	return news, nil
}

// nextSeq returns a sequence number greater than that of everything taken in before, and
// smaller than that of everything taken in later.
func (e *Elector) nextSeq() uint64 {
	e.mu.Lock()
	defer e.unlock()
	e.observed.seq++
	return e.observed.seq
}

// readTimeout returns the timeout of the next read.
func (e *Elector) readTimeout() time.Duration {
	if contact := e.contact.Load(); contact != nil {
		return e.config.readTimeout(time.Since(*contact))
	}
	return e.config.shortestRead()
}

// requestDone reports a request that was sent at sent and has ended with err, and
// records when the API server last answered.
func (e *Elector) requestDone(name string, sent time.Time, err error) {
	now := time.Now()
	if err == nil || isConflict(err) {
		e.contact.Store(&now)
	}
	r := Request{For: name, Sent: sent, Took: now.Sub(sent), Err: err, Failure: failureOf(err)}
	if r.Failure == FailureCanceled && r.Took >= e.config.attemptTimeout() {
		r.Failure = failureOf(context.DeadlineExceeded) // the next request had been sent by then
	}
	e.tracer.request(r)
}

// noteResultLocked records the result of a read or a write in f.
func (e *Elector) noteResultLocked(f *requestFailure, operation string, err error) {
	if logChange := f.update(operation, err, e.log); logChange != nil {
		e.afterUnlock(logChange)
		e.signalLocked()
	}
}

// observeEvent takes in an event of a watch. It drops events of other Leases, because
// some servers ignore field selectors. Without resourceVersions an event cannot be told
// from a late one, so it only requests a read.
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

// watchChanged records whether the Lease is watched or polled. It logs once that a watch
// is forbidden, and once that it is allowed again.
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

// observedLease returns the Lease as it was last observed, nil if it does not exist.
func (e *Elector) observedLease() *coordinationv1.Lease {
	e.mu.Lock()
	defer e.unlock()
	return e.observed.state.Lease
}

// singleFlight is the read that concurrent calls of Confirm share. With a read for each
// caller, a client with a low rate limit would have no requests left for renewals.
type singleFlight struct {
	turn  chan struct{} // held by the caller that reads; guards the rest
	began uint64        // sequence number at which the last read began
	err   error         // its result
}

// readSince reads the Lease, unless another caller's read began after seq.
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
	if err == nil || !short && ctx.Err() == nil { // a failure of a caller with little time is not shared
		f.began, f.err = began, err
	}
	return err
}
