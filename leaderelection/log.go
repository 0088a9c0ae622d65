package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// newLogger returns the logger of an elector: the Lease and the identity stand
// on each of its lines.
func newLogger(logger *slog.Logger, c Config) *slog.Logger {
	if logger == nil {
		logger = slog.Default()
	}
	if c.Enabled {
		logger = logger.With("lease", c.leaseKey())
	}
	return logger.With("identity", c.Identity)
}

// leaseKey is the namespace and name of the Lease.
func (c Config) leaseKey() string {
	if !c.Enabled {
		return ""
	}
	return c.LeaseNamespace + "/" + c.LeaseName
}

// A quietHandler passes client-go's lines on at debug level: it writes some for
// each attempt, and what changes is told by our own lines.
type quietHandler struct{ slog.Handler }

func (h quietHandler) Enabled(ctx context.Context, _ slog.Level) bool {
	return h.Handler.Enabled(ctx, slog.LevelDebug)
}

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

// withQuietLogger gives the engine a logger that ends in the caller's handler.
func withQuietLogger(ctx context.Context, logger *slog.Logger) context.Context {
	quiet := quietHandler{logger.With("by", "client-go").Handler()}
	return logr.NewContext(ctx, logr.FromSlogHandler(quiet))
}

// trouble tells of requests that fail: the first one at once, then once for each
// change of kind, and when it is over.
type trouble struct {
	log *slog.Logger

	mu    sync.Mutex
	kind  string
	err   error
	since time.Time
}

// note takes in how a request went. An answer that means something in an
// election, a conflict above all, is no trouble.
func (t *trouble) note(doing string, err error) {
	kind := kindOf(err)
	t.mu.Lock()
	defer t.mu.Unlock()
	if kind == t.kind {
		return
	}
	if kind == "" {
		t.log.Info("The API server answers again", "after", time.Since(t.since).Round(time.Millisecond), "was", t.kind)
		t.kind, t.err = "", nil
		return
	}
	if t.kind == "" {
		t.since = time.Now()
	}
	t.kind, t.err = kind, err
	t.log.Warn("Requests for the Lease fail, and go on being tried", "kind", kind, "doing", doing, "err", err)
}

// last is the error of the present trouble, nil if there is none.
func (t *trouble) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// kindOf sorts the errors of requests, "" if err is no trouble.
func kindOf(err error) string {
	var urlError *url.Error
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), errors.Is(err, context.Canceled):
		return ""
	case apierrors.IsForbidden(err):
		return "forbidden"
	case apierrors.IsUnauthorized(err):
		return "unauthorized"
	case apierrors.IsNotFound(err):
		return "not found"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return "refused as invalid"
	case apierrors.IsTooManyRequests(err):
		return "throttled"
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return "no answer in time"
	case errors.As(err, &urlError):
		return "no connection"
	case apierrors.ReasonForError(err) != "":
		return "server error"
	default:
		return "other"
	}
}

// isRefusal reports whether the server has certainly not applied a write that
// was answered with err.
func isRefusal(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != 408
}

// isAbsence reports whether err says that the Lease does not exist. A 404 that
// does not come from the API of Leases, a proxy's for instance, says nothing
// about it.
func isAbsence(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, "UnexpectedServerResponse")
}
