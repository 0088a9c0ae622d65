package leaderelection

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/go-logr/logr"
)

// A Token is a fencing token: a number that is greater in each later term of
// one Lease, also after the Lease was deleted and made anew. It is the
// resourceVersion at which the Lease was acquired, or a local counter where the
// server has none (client-go's fakes). A store that refuses writes with a lower
// token than the highest one it has seen is safe from leaders that were frozen.
// Only restoring the cluster's database from a backup can make it fall.
type Token uint64

// String returns the token in decimal.
func (t Token) String() string { return strconv.FormatUint(uint64(t), 10) }

// A Term is one uninterrupted leadership: from one acquisition of the Lease to
// its end. The zero Term is no term.
type Term struct {
	// Token tells the terms of a Lease apart and orders them.
	Token Token
	// Identity is the leader's.
	Identity string
	// Lease is the namespace and name of the Lease, with a slash between them;
	// empty if the election is not enabled.
	Lease string
	// AcquiredAt is when the write that won the Lease was sent, by this
	// machine's clock.
	AcquiredAt time.Time
}

// LogValue makes a Term one short attribute.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.Token.String()) }

type termKey struct{}

// TermFromContext returns the term that ctx works in: ctx is the one that
// OnStartedLeading was given, or is derived from it. The term may be over:
// ctx.Err() tells, and context.Cause(ctx) says why.
func TermFromContext(ctx context.Context) (Term, bool) {
	w, ok := ctx.Value(termKey{}).(*work)
	if !ok {
		return Term{}, false
	}
	return w.term, true
}

// LoggerFromContext returns the logger of the term that ctx works in, with the
// Lease, the identity and the term on every line, and slog.Default() if ctx has
// none. logr.FromContext, and with it controller-runtime's log.FromContext,
// find the same one.
func LoggerFromContext(ctx context.Context) *slog.Logger {
	if logger := logr.FromContextAsSlogLogger(ctx); logger != nil {
		return logger
	}
	return slog.Default()
}
