package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// baseContexts contains the contexts from which the contexts of all Runnables are
// derived. end cancels all these contexts at once. The inner Manager itself
// would stop one group of Runnables after another.
type baseContexts struct {
	gate *gate

	mu      sync.Mutex
	cancels []context.CancelCauseFunc
}

// wrap returns a BaseContext function for the options of the inner Manager. The method
// end cancels each context that this function creates. The parent of each context is
// the result of user, or the background context if user is nil.
func (b *baseContexts) wrap(user crmanager.BaseContextFunc) crmanager.BaseContextFunc {
	return func() context.Context {
		parent := context.Background()
		if user != nil {
			parent = user()
		}
		ctx, cancel := context.WithCancelCause(parent)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.cancels = append(b.cancels, cancel)
		return baseContext{ctx, b.gate}
	}
}

// end cancels all base contexts. The first call of end sets the cause of these
// contexts, and later calls do not change this cause.
func (b *baseContexts) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cancel := range b.cancels {
		cancel(cause)
	}
}

// A baseContext is a context that also carries the values of the term's context. The
// inner Manager creates its base context before the term begins. Therefore the base
// context gets the values of the term from the gate.
type baseContext struct {
	context.Context
	gate *gate
}

// Value returns the value for key in the user's context. If the user's context has no
// such value, Value returns the value in the context of the term. It never returns the
// logger of the term, because Runnables must use the logger of the Manager.
func (c baseContext) Value(key any) any {
	if value := c.Context.Value(key); value != nil {
		return value
	}
	switch value := c.gate.value(key).(type) {
	case logr.Logger, *slog.Logger:
		return nil
	default:
		return value
	}
}
