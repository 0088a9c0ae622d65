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

// clientGoText is the key under which a log line contains the text that client-go logs
// in the same situation. Existing runbooks and alerts search for these texts.
const clientGoText = "clientGo"

// This file contains all code that depends on client-go's LeaderElector, which is
// called the engine. The engine sends its requests through a lock. The lock passes each
// request to an engineDriver. The Elector decides whether this process leads, and not
// the engine.

// clientJitterFactor limits the random time that client-go adds to each pause between
// two reads. The added time is at most clientJitterFactor times the pause.
const clientJitterFactor = clientleaderelection.JitterFactor

// An engineDriver handles each request of the engine. The type attempt implements it.
//
// A driver must follow these rules. It must not return an error that satisfies
// apierrors.IsConflict, because client-go would retry a release forever. While this
// elector holds the Lease, current must not return a Lease that another
// candidate wrote.
type engineDriver interface {
	// current returns the Lease that the next write is based on. lease is
	// nil if the Lease does not exist. holder is the identity that the
	// engine uses as the holder of the Lease. It is "" if the Lease may be claimed.
	current(ctx context.Context) (lease *coordinationv1.Lease, holder string, err error)
	// create claims the Lease by creating it.
	create() error
	// update claims or renews the Lease. If release is true, it releases the Lease.
	update(ctx context.Context, release bool) error
}

// A lock implements resourcelock.Interface. It passes each request of the engine to its
// driver.
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

// Create claims the Lease by creating it. Create ignores its record argument, because
// the driver creates the record.
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

// Describe returns the name of the Lease for client-go's log lines.
func (l *lock) Describe() string { return l.config.leaseKey() }

// enginePause is the pause of the engine between two requests. It is short, because the
// driver itself waits until the next request is due.
const enginePause = time.Millisecond

// newEngine returns a client-go elector that sends its requests through driver.
func newEngine(c *Config, driver engineDriver) (*clientleaderelection.LeaderElector, error) {
	return clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock:            &lock{driver, c},
		LeaseDuration:   c.LeaseDuration,
		RenewDeadline:   c.LeaseDuration - time.Millisecond,
		RetryPeriod:     enginePause,
		ReleaseOnCancel: true, // the driver refuses the release while the work runs
		Name:            c.LeaseName,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, // the Elector starts the term
			OnStoppedLeading: func() {},
		},
	})
}

// checkEngine validates c with client-go's own checks.
func checkEngine(c *Config) error {
	_, err := newEngine(c, nil)
	return err
}

// clearEngineMetric sets client-go's metric to "not leading". client-go does this when
// it creates an elector.
func clearEngineMetric(c *Config) { _ = checkEngine(c) }

// An engine is one running client-go elector. Each attempt to claim the Lease uses a
// new engine.
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

// stop stops the engine and waits until the engine has returned. If the work
// has returned, the engine first releases the Lease. If en is nil, stop does nothing.
func (en *engine) stop() {
	if en == nil {
		return
	}
	en.cancel()
	<-en.done
}

// stopped returns a channel that is closed when the engine has returned. If en is nil,
// stopped returns a nil channel.
func (en *engine) stopped() <-chan struct{} {
	if en == nil {
		return nil
	}
	return en.done
}

// These are the errors that a driver returns. None of them satisfies
// apierrors.IsConflict.
var (
	errNotReleased = errors.New("the Lease could not be released before trust ended; candidates wait until it expires")
	errAttemptOver = errors.New("this attempt is over; the next one begins with a fresh read")
	errNotHeld     = errors.New("this term does not hold the Lease any more; nothing is written")
	errNotYet      = errors.New("the Lease is not released before the work has stopped")
	errNoAnswer    = errors.New("no answer in time; the request continues and the next one overlaps it")
	errUnconfirmed = errors.New("the last renewal is not confirmed yet")
)

// A requestError contains an API error and hides the type of this error from client-go.
type requestError struct{ err error }

func (e requestError) Error() string { return e.err.Error() }

// opaque returns err as a requestError. It returns nil if err is nil.
func opaque(err error) error {
	if err == nil {
		return nil
	}
	return requestError{err}
}

// A quietHandler sets the level of client-go's log lines to debug.
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

// withQuietLogger returns a context that contains a logger for client-go. This logger
// writes at debug level.
func withQuietLogger(ctx context.Context, logger *slog.Logger) context.Context {
	quiet := quietHandler{logger.With("by", "client-go").Handler()}
	return logr.NewContext(ctx, logr.FromSlogHandler(quiet))
}
