package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"net"
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
	if !h.Enabled(ctx, r.Level) {
		return nil // errors come without having asked
	}
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
// change of kind, and when it is over. Reads and writes are told apart: while one
// fails the other may succeed.
type trouble struct {
	log     *slog.Logger
	changed func() // is called after each change

	mu      sync.Mutex
	reading ailment
	writing ailment
}

// An ailment is what fails now; its kind is "" while nothing does.
type ailment struct {
	kind  string
	err   error
	since time.Time
}

// read and wrote take in how a request went. An answer that means something in an
// election, a conflict above all, is no trouble.
func (t *trouble) read(err error)  { t.note(&t.reading, "reading", err) }
func (t *trouble) wrote(err error) { t.note(&t.writing, "writing", err) }

// note leaves out requests that we ourselves have given up: they say nothing.
func (t *trouble) note(a *ailment, doing string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if t.noteKind(a, doing, kindOf(err), err) {
		t.changed()
	}
}

func (t *trouble) noteKind(a *ailment, doing, kind string, err error) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case kind == a.kind:
		return false
	case kind == "":
		t.log.Info("The Lease can be reached again", "doing", doing, "after", time.Since(a.since).Round(time.Millisecond), "was", a.kind)
		*a = ailment{}
	default:
		if a.kind == "" {
			a.since = time.Now()
		}
		a.kind, a.err = kind, err
		t.log.Warn("Requests for the Lease fail, and go on being tried", "doing", doing, "kind", kind, "err", err)
	}
	return true
}

// now says what fails now, "" if nothing does.
func (t *trouble) now() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range []ailment{t.writing, t.reading} {
		if a.err != nil {
			return a.err.Error()
		}
	}
	return ""
}

// kindOf sorts the errors of requests, "" if err is no trouble.
func kindOf(err error) string {
	var urlError *url.Error
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
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

// isRefusal reports whether err says that a write was not applied: by the server,
// or because it could not be reached at all.
func isRefusal(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
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
