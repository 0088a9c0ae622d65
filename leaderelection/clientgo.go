package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
)

// This file contains everything that knows client-go's LeaderElector, the engine. The
// engine writes, renews and releases through a lock, and the lock passes each request
// on to an engineDriver. The engine never decides whether this process leads.

// clientJitterFactor is the factor by which client-go spreads its polls.
const clientJitterFactor = clientleaderelection.JitterFactor

// An engineDriver decides what the engine's requests do. An attempt is one, see
// attempt.go.
//
// Three rules hold for it. No error satisfies apierrors.IsConflict, because client-go
// would retry a release without end; see opaque. While the Lease is held, current never
// returns the record of another holder, because the engine would take it for its own
// and acquire the Lease again in the same term. And the pace of the engine must not
// delay a renewal that is due.
type engineDriver interface {
	// current returns the Lease that the next write is based on, and its holder as the
	// engine should see it: "" if the Lease may be claimed, even if it names a holder. A nil
	// Lease does not exist.
	current(ctx context.Context) (lease *coordinationv1.Lease, holder string, err error)
	// create claims a Lease that does not exist.
	create() error
	// update claims or renews the Lease, or releases it.
	update(ctx context.Context, release bool) error
}

// A lock is the resourcelock.Interface between the engine and its driver.
type lock struct {
	driver engineDriver
	config *Config
}

var _ resourcelock.Interface = (*lock)(nil)

// Get returns the record that the next write is based on.
func (l *lock) Get(ctx context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	lease, holder, err := l.driver.current(ctx)
	if err != nil {
		return nil, nil, err
	}
	if lease == nil {
		return nil, nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), l.config.LeaseName)
	}
	record := resourcelock.LeaseSpecToLeaderElectionRecord(&lease.Spec)
	record.HolderIdentity = holder
	return record, []byte(lease.ResourceVersion), nil
}

// Create claims a Lease that does not exist. The driver decides what the record holds.
func (l *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return l.driver.create()
}

// Update claims, renews or releases the Lease.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.driver.update(ctx, record.HolderIdentity == "")
}

// RecordEvent does nothing: the Elector records its own events.
func (l *lock) RecordEvent(string) {}

// Identity returns the candidate's identity.
func (l *lock) Identity() string { return l.config.Identity }

// Describe returns the name of the Lease for client-go's log lines.
func (l *lock) Describe() string { return l.config.leaseKey() }

// newEngine returns a client-go elector at the pace of its driver. The elector tries
// again after attemptTimeout. The driver makes it wait until a renewal is due, and ends
// the term before the elector's own deadline can.
func newEngine(c *Config, driver engineDriver) (*clientleaderelection.LeaderElector, error) {
	return clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock:            &lock{driver, c},
		LeaseDuration:   c.LeaseDuration,
		RenewDeadline:   c.LeaseDuration - time.Millisecond,
		RetryPeriod:     c.attemptTimeout(),
		ReleaseOnCancel: true, // the driver refuses unless the Lease is releasable
		Name:            c.LeaseName,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, // the term begins when the claim is confirmed, not here
			OnStoppedLeading: func() {},
		},
	})
}

// checkEngine returns the error of client-go's own validation.
func checkEngine(c *Config) error {
	_, err := newEngine(c, nil)
	return err
}

// clearEngineMetric sets client-go's metric to "not leading", which client-go itself
// does only when an elector is created.
func clearEngineMetric(c *Config) { _ = checkEngine(c) }

// An engine is one running client-go elector. It claims once, renews, and releases when
// it is stopped. A new one for each attempt is cheap.
type engine struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when it has returned
}

func startEngine(c *Config, driver engineDriver, tasks *dispatch.Tasks, log *slog.Logger) (*engine, error) {
	elector, err := newEngine(c, driver)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(withQuietLogger(context.Background(), log))
	en := &engine{cancel: cancel, done: make(chan struct{})}
	tasks.Run(func() {
		defer close(en.done)
		defer cancel()
		elector.Run(ctx)
	})
	return en, nil
}

// stop stops the engine and waits until it has returned. Before it returns, the engine
// releases the Lease if it is releasable.
func (en *engine) stop() {
	if en == nil {
		return
	}
	en.cancel()
	<-en.done
}

// stopped is closed when the engine has returned. It is nil without an engine.
func (en *engine) stopped() <-chan struct{} {
	if en == nil {
		return nil
	}
	return en.done
}

// The driver's errors. None satisfies apierrors.IsConflict.
var (
	errNotReleased = errors.New("the Lease could not be released before trust ended; candidates wait until it expires")
	errAttemptOver = errors.New("this attempt is over; the next one begins with a fresh read")
	errNotHeld     = errors.New("this term does not hold the Lease any more; nothing is written")
	errNotYet      = errors.New("the Lease is not released before the work has stopped")
	errNoAnswer    = errors.New("no answer in time; the request continues and the next one overlaps it")
	errUnconfirmed = errors.New("the last renewal is not confirmed yet")
)

// A requestError is an API error whose type client-go cannot see.
type requestError struct{ err error }

func (e requestError) Error() string { return e.err.Error() }

// opaque hides the type of an API error.
func opaque(err error) error {
	if err == nil {
		return nil
	}
	return requestError{err}
}

// A quietHandler logs client-go's lines at debug level: client-go writes some for each
// attempt, and the Elector logs each change itself.
type quietHandler struct{ slog.Handler }

func (h quietHandler) Handle(ctx context.Context, r slog.Record) error {
	r.Level = min(r.Level, slog.LevelDebug)
	return h.Handler.Handle(ctx, r)
}

func (h quietHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietHandler{h.Handler.WithAttrs(attrs)}
}

func (h quietHandler) WithGroup(name string) slog.Handler {
	return quietHandler{h.Handler.WithGroup(name)}
}

// withQuietLogger returns a context whose logger ends in the caller's handler.
func withQuietLogger(ctx context.Context, logger *slog.Logger) context.Context {
	quiet := quietHandler{logger.With("by", "client-go").Handler()}
	return logr.NewContext(ctx, logr.FromSlogHandler(quiet))
}
