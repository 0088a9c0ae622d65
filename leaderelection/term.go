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

// A Token is a fencing token. It is a number that is greater in each later term of one
// Lease, even if the Lease was deleted and created again. The token is the
// resourceVersion that the Lease had after the claim. On a server without
// resourceVersions, such as client-go's fakes, the token is a counter of this process.
//
// A store should refuse each write whose token is lower than the highest token that the
// store has received. The store is then safe from leaders that were frozen. A token can
// become smaller only if the cluster's database is restored from a backup.
type Token uint64

// String returns the token in decimal.
func (t Token) String() string { return strconv.FormatUint(uint64(t), 10) }

// localTokens is the last token of a term without a resourceVersion.
var localTokens atomic.Uint64

// tokenOf returns the token of a new term. lease is the Lease after the claim of this
// term.
func tokenOf(lease *coordinationv1.Lease) Token {
	if version := leasestate.Version(lease); version != 0 {
		return Token(version)
	}
	return Token(localTokens.Add(1))
}

// A Term is one uninterrupted leadership, from the claim of the Lease to the end of
// leadership. The zero Term means that there is no term.
type Term struct {
	// Token identifies the term. Of two terms of one Lease, the later term has the
	// greater Token.
	Token Token
	// Identity is the leader's identity.
	Identity string
	// Lease is the namespace and the name of the Lease, as namespace/name. It is empty
	// if the election is not enabled.
	Lease string
	// AcquiredAt is when the claim was sent, by the clock of the leader's machine.
	AcquiredAt time.Time
}

// LogValue returns the token, and therefore a logger prints a Term as its token.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.Token.String()) }

type termKey struct{}

// TermFromContext returns the term of ctx. ctx must be the context that
// OnStartedLeading received, or a context derived from it. The term may be over
// already. Use ctx.Err() or context.Cause(ctx) to find out.
func TermFromContext(ctx context.Context) (Term, bool) {
	run, ok := ctx.Value(termKey{}).(*termRun)
	if !ok {
		return Term{}, false
	}
	return run.term, true
}

// LoggerFromContext returns the logger of the term of ctx. Each of its lines contains
// the Lease, the identity and the term. LoggerFromContext returns slog.Default() if ctx
// has no logger. logr.FromContext and controller-runtime's log.FromContext return the
// same logger as a logr.Logger.
func LoggerFromContext(ctx context.Context) *slog.Logger {
	if logger := logr.FromContextAsSlogLogger(ctx); logger != nil {
		return logger
	}
	return slog.Default()
}
