package leaderelection

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// A lock stands between client-go's LeaderElector and the API server, for one
// attempt to claim the Lease and for the tenure that comes of it. It sends what
// its tenure may send, on the version that the tenure holds, and refuses the
// rest. One goroutine at a time uses it.
type lock struct {
	elector *Elector
	basis   *coordinationv1.Lease // what is claimed; nil: nothing is there
	decided chan bool             // gets one value: whether the claim succeeded
	claimed bool                  // the one claim was made
	answer  time.Time             // until when the engine waits for the attempt under way
	told    int64                 // renewTime of the write that the engine was last told to be applied
}

var _ resourcelock.Interface = (*lock)(nil)

// What the lock answers instead of the API server's errors. None of them
// satisfies apierrors.IsConflict: client-go would retry a release without end.
var (
	errNotReleased = errors.New("the lease could not be released while it was ours: others wait until it runs out")
	errAttemptOver = errors.New("this attempt is over: the next one starts from a fresh read")
	errNotHeld     = errors.New("the lease is not held by this term any more: nothing is written")
	errNotYet      = errors.New("the lease is not released before the work has stopped")
	errNoAnswer    = errors.New("no answer in time: the request goes on, and the next one overlaps it")
	errUnproven    = errors.New("what became of the last renewal is not known yet")
)

// A requestError is an API error without its identity.
type requestError struct{ err error }

func (e requestError) Error() string { return e.err.Error() }

func (e *Elector) newLock(basis *coordinationv1.Lease) *lock {
	return &lock{elector: e, basis: basis, decided: make(chan bool, 1)}
}

// Identity and Describe are asked for by the engine.
func (l *lock) Identity() string { return l.elector.config.Identity }

// Describe names the Lease in client-go's log lines.
func (l *lock) Describe() string { return l.elector.config.leaseKey() }

// Get answers with what the lock's next write will be based on. To the engine a
// Lease that may be claimed is free, whoever it names: the observer has decided
// that. While the Lease is held it never returns a foreign record, for the engine
// would take that for its own and acquire the Lease again in the same term.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	e := l.elector
	e.mu.Lock()
	t := e.tenure
	held := t != nil && t.cause == nil
	yielding := held && t.yielding
	e.mu.Unlock()

	switch {
	case t == nil && l.claimed:
		return nil, nil, errAttemptOver
	case t == nil:
		return l.claimable()
	case !held:
		return nil, nil, errNotHeld
	case yielding:
		return l.ownRecord(t)
	}
	// The engine asks only after a renewal has failed.
	if err := l.readBack(ctx, t); err != nil {
		return nil, nil, err
	}
	return l.ownRecord(t)
}

func (l *lock) claimable() (*resourcelock.LeaderElectionRecord, []byte, error) {
	if l.basis == nil {
		return nil, nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), l.elector.config.LeaseName)
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&l.basis.Spec)
	record.HolderIdentity = ""
	return record, []byte(l.basis.ResourceVersion), nil
}

func (l *lock) ownRecord(t *tenure) (*resourcelock.LeaderElectionRecord, []byte, error) {
	l.elector.mu.Lock()
	defer l.elector.mu.Unlock()
	if t.cause != nil {
		return nil, nil, errNotHeld
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&t.lease.Spec)
	record.HolderIdentity = l.Identity()
	return record, []byte(t.lease.ResourceVersion), nil
}

// readBack finds out what became of a write. It waits no longer than the attempt
// under way may take: after that the engine had better send the next write.
func (l *lock) readBack(ctx context.Context, t *tenure) error {
	e := l.elector
	read := make(chan error, 1)
	e.tasks.run(func() {
		_, err := e.read(t.requests, e.readTimeout())
		read <- err
	})
	timer := time.NewTimer(time.Until(l.answer))
	defer timer.Stop()
	select {
	case err := <-read:
		return opaque(err)
	case <-t.lost:
		return errNotHeld
	case <-timer.C:
		return errUnproven
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Create claims a Lease that does not exist. What the record says is the
// lock's to decide, see draft.
func (l *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	e := l.elector
	e.mu.Lock()
	over := e.tenure != nil || l.claimed || l.basis != nil
	e.mu.Unlock()
	if over {
		return errAttemptOver
	}
	return l.claim(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: l.elector.config.LeaseName, Namespace: l.elector.config.LeaseNamespace,
	}}, true)
}

// Update claims, renews or releases the Lease.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	e := l.elector
	e.mu.Lock()
	t := e.tenure
	e.mu.Unlock()
	switch {
	case t == nil && l.claimed, t == nil && l.basis == nil:
		return errAttemptOver
	case t == nil:
		return l.claim(l.basis, false)
	case record.HolderIdentity == "":
		return l.release(ctx, t)
	default:
		return l.renew(ctx, t)
	}
}

// RecordEvent does nothing: the Elector records what it knows, which is more.
func (l *lock) RecordEvent(string) {}

// opaque hides what kind of API error err is.
func opaque(err error) error {
	if err == nil {
		return nil
	}
	return requestError{err}
}
