package leaderelection

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A Token is a fencing token. Each term of a Lease has a greater token than all earlier
// terms of this Lease, even if the Lease was deleted and created again. The token is
// the resourceVersion that the Lease had after the claim. On a server without
// resourceVersions, such as client-go's fake clientset, the token is a counter of this
// process.
//
// A store should refuse each write whose token is lower than the highest token that the
// store has received. A leader that was frozen can then no longer write after another
// leader has written. Tokens become smaller only if the cluster's database is restored
// from a backup.
//
// A token may have up to 20 digits. Keep it as an unsigned integer of 64 bits or as
// text. A signed integer of 64 bits overflows above 9223372036854775807. A float64, as
// in JavaScript, in Lua and in many readers of JSON, changes tokens above
// 9007199254740992.
type Token uint64

// String returns the token in decimal.
func (t Token) String() string { return strconv.FormatUint(uint64(t), 10) }

// MarshalText returns the token in decimal. Therefore a token is a string in JSON, in
// YAML and in the logs of slog's handlers. It is no number, because many readers of JSON
// read numbers as float64.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText sets the token to a decimal number. It returns an error if text is not
// a decimal number, or is greater than 18446744073709551615.
func (t *Token) UnmarshalText(text []byte) error {
	token, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return fmt.Errorf("leaderelection: fencing token is invalid: %q, give a decimal number of at most %d", text, uint64(math.MaxUint64))
	}
	*t = Token(token)
	return nil
}

// localTokens is the last token that was created without a resourceVersion.
var localTokens atomic.Uint64

// tokenOf returns the token of a new term. lease is the Lease after the
// claim.
func tokenOf(lease *coordinationv1.Lease) Token {
	if version := leasestate.Version(lease); version != 0 {
		return Token(version)
	}
	return Token(localTokens.Add(1))
}

// A Term is one period of leadership, from the claim of the Lease to the end of
// leadership. The zero Term means that there is no term.
type Term struct {
	// Token identifies the term. It is greater than the Tokens of all earlier terms of
	// the same Lease.
	Token Token
	// Identity is the leader's identity.
	Identity string
	// Lease is the namespace and the name of the Lease, as namespace/name. It is empty
	// if the election is not enabled.
	Lease string
	// AcquiredAt is when the claim was sent, according to the clock of the leader's
	// machine.
	AcquiredAt time.Time
}

// LogValue returns the token. Therefore a logger prints a Term as its token.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.Token.String()) }

type termKey struct{}

// TermFromContext returns the term that ctx belongs to. Pass the context that
// OnStartedLeading received, or a context derived from it. For any other context, the
// second result is false. After the term has ended, TermFromContext still returns it,
// and ctx.Err() is not nil.
func TermFromContext(ctx context.Context) (Term, bool) {
	run, ok := ctx.Value(termKey{}).(*termRun)
	if !ok {
		return Term{}, false
	}
	return run.term, true
}

// LoggerFromContext returns the logger of the term that ctx belongs to. The logger adds
// the Lease, the identity and the term to each line. LoggerFromContext returns
// slog.Default() if ctx contains no logger. The functions logr.FromContext and
// controller-runtime's log.FromContext return the same logger as a logr.Logger.
func LoggerFromContext(ctx context.Context) *slog.Logger {
	if logger := logr.FromContextAsSlogLogger(ctx); logger != nil {
		return logger
	}
	return slog.Default()
}
