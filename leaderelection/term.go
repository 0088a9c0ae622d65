package leaderelection

import (
	"context"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A Token is a fencing token: a number that is greater in each later term of one Lease,
// also after the Lease was deleted and created again. It is the resourceVersion at which
// the Lease was acquired, or a local counter if the server has none (client-go's fakes).
// A store that refuses writes with a lower token than the highest one it has stored is
// safe from leaders that were frozen. A token can become smaller only if the cluster's
// database is restored from a backup.
type Token uint64

// String returns the token in decimal.
func (t Token) String() string { return strconv.FormatUint(uint64(t), 10) }

// localTokens counts the terms on servers without resourceVersions.
var localTokens atomic.Uint64

// tokenOf returns the token of the term that begins with a claim that left lease on the
// server.
func tokenOf(lease *coordinationv1.Lease) Token {
	if version := leasestate.Version(lease); version != 0 {
		return Token(version)
	}
	return Token(localTokens.Add(1))
}

// A Term is one uninterrupted leadership, from one acquisition of the Lease to its end.
// The zero Term is no term.
type Term struct {
	// Token identifies the term and orders the terms of a Lease.
	Token Token
	// Identity is the leader's identity.
	Identity string
	// Lease is the Lease as namespace/name. It is empty if the election is not enabled.
	Lease string
	// AcquiredAt is when the claim was sent, by this machine's clock.
	AcquiredAt time.Time
}

// LogValue returns the token.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.Token.String()) }

type termKey struct{}

// TermFromContext returns the term of ctx, which must be the context that
// OnStartedLeading received or one derived from it. It returns false for any other
// context. The term may be over: ctx.Err() and
// context.Cause(ctx) report that.
func TermFromContext(ctx context.Context) (Term, bool) {
	run, ok := ctx.Value(termKey{}).(*termRun)
	if !ok {
		return Term{}, false
	}
	return run.term, true
}

// LoggerFromContext returns the logger of the term of ctx, with the Lease, the identity
// and the term on every line. It returns slog.Default() if ctx has none. logr.FromContext
// and controller-runtime's log.FromContext return the same logger.
func LoggerFromContext(ctx context.Context) *slog.Logger {
	if logger := logr.FromContextAsSlogLogger(ctx); logger != nil {
		return logger
	}
	return slog.Default()
}
