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

// All code that depends on client-go's LeaderElector is in this file. The LeaderElector
// is called the engine. The engine claims, renews and releases through a lock, and the
// lock passes each request on to an engineDriver. The engine never decides whether this
// process leads.

// client-go randomly lengthens each pause between two reads of the Lease. The added
// time is at most clientJitterFactor times the pause.
const clientJitterFactor = clientleaderelection.JitterFactor

// An engineDriver decides what happens for each request of the engine. The type attempt
// implements it, see attempt.go.
//
// A driver follows three rules. First, a driver returns no error that satisfies
// apierrors.IsConflict. If a release failed with such an error, client-go would retry
// the release forever; see the function opaque. Second, while this elector holds the
// Lease, the method current never returns a Lease that another candidate wrote. If it
// did, the engine would acquire the Lease again in the same term. Third, a driver must
// not make the engine pause when a renewal is due.
type engineDriver interface {
	// current returns the Lease that the next write is based on. The result lease is
	// nil if the Lease does not exist. The result holder is the holder that is reported
	// to the engine. If the Lease may be claimed, holder is "", even if the Lease names
	// a holder.
	current(ctx context.Context) (lease *coordinationv1.Lease, holder string, err error)
	// create claims a Lease that does not exist.
	create() error
	// update claims or renews the Lease. If release is true, it releases the Lease.
	update(ctx context.Context, release bool) error
}

// A lock implements resourcelock.Interface. It passes each request of the engine on to
// the lock's driver.
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

// Create claims a Lease that does not exist. It ignores the record that the engine
// passes, because the driver creates the record.
func (l *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error {
	return l.driver.create()
}

// Update claims, renews or releases the Lease.
func (l *lock) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.driver.update(ctx, record.HolderIdentity == "")
}

// RecordEvent does nothing, because the Elector records its own events.
func (l *lock) RecordEvent(string) {}

// Identity returns the candidate's identity.
func (l *lock) Identity() string { return l.config.Identity }

// Describe returns the name of the Lease. client-go writes it to its log lines.
func (l *lock) Describe() string { return l.config.leaseKey() }

// newEngine returns a client-go elector that sends its requests through driver. When a
// request has failed, client-go's elector waits for attemptTimeout and then sends
// another request. The driver makes each renewal wait until it is due. The driver also
// ends the term before the RenewDeadline of client-go's elector has passed.
func newEngine(c *Config, driver engineDriver) (*clientleaderelection.LeaderElector, error) {
	return clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock:            &lock{driver, c},
		LeaseDuration:   c.LeaseDuration,
		RenewDeadline:   c.LeaseDuration - time.Millisecond,
		RetryPeriod:     c.attemptTimeout(),
		ReleaseOnCancel: true, // the driver refuses a release before the work has returned
		Name:            c.LeaseName,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, // this package starts the term itself, when the claim is confirmed
			OnStoppedLeading: func() {},
		},
	})
}

// checkEngine validates c with client-go's own checks.
func checkEngine(c *Config) error {
	_, err := newEngine(c, nil)
	return err
}

// clearEngineMetric sets client-go's metric to "not leading". It creates an elector,
// because client-go resets the metric only then.
func clearEngineMetric(c *Config) { _ = checkEngine(c) }

// An engine is one running client-go elector. It claims once, renews, and releases the
// Lease when it is stopped. Each attempt creates its own engine, which is cheap.
type engine struct {
	cancel context.CancelFunc
	done   chan struct{} // closed when the elector has returned
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

// stop stops the engine and waits until it has returned. If the Lease is releasable,
// the engine first releases it. stop may be called on nil.
func (en *engine) stop() {
	if en == nil {
		return
	}
	en.cancel()
	<-en.done
}

// stopped returns a channel that is closed when the engine has returned. It returns nil
// if en is nil.
func (en *engine) stopped() <-chan struct{} {
	if en == nil {
		return nil
	}
	return en.done
}

// The errors that a driver returns. None of them satisfies apierrors.IsConflict.
var (
	errNotReleased = errors.New("the Lease could not be released before trust ended; candidates wait until it expires")
	errAttemptOver = errors.New("this attempt is over; the next one begins with a fresh read")
	errNotHeld     = errors.New("this term does not hold the Lease any more; nothing is written")
	errNotYet      = errors.New("the Lease is not released before the work has stopped")
	errNoAnswer    = errors.New("no answer in time; the request continues and the next one overlaps it")
	errUnconfirmed = errors.New("the last renewal is not confirmed yet")
)

// A requestError wraps an API error and hides its type from client-go.
type requestError struct{ err error }

func (e requestError) Error() string { return e.err.Error() }

// The function opaque returns err as a requestError. It returns nil if err is nil.
func opaque(err error) error {
	if err == nil {
		return nil
	}
	return requestError{err}
}

// A quietHandler lowers client-go's log lines to debug level. client-go logs several
// lines for each attempt, and the Elector itself logs each change of leadership.
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

// withQuietLogger returns a context whose logger writes to the caller's handler at
// debug level.
func withQuietLogger(ctx context.Context, logger *slog.Logger) context.Context {
	quiet := quietHandler{logger.With("by", "client-go").Handler()}
	return logr.NewContext(ctx, logr.FromSlogHandler(quiet))
}
