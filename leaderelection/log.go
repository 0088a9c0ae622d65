package leaderelection

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/go-logr/logr"
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

// forgetWrites drops what failed in writing: somebody else leads, so nothing is
// written. It says nothing, for nothing was mended.
func (t *trouble) forgetWrites() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = ailment{}
}

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
		t.log.Info("Lease requests succeeding again", "doing", doing, "after", time.Since(a.since).Round(time.Millisecond), "was", a.kind)
		*a = ailment{}
	default:
		if a.kind == "" {
			a.since = time.Now()
		}
		a.kind, a.err = kind, err
		t.log.Warn("Lease requests failing; retrying", "doing", doing, "kind", kind, "err", err)
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

// cannotRead reports whether looking at the Lease fails now.
func (t *trouble) cannotRead() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reading.kind != ""
}
