package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// baseContexts holds the contexts from which the contexts of all Runnables are derived.
// The method end cancels them all at once. If only the context of Start were cancelled,
// the inner Manager would stop one group of Runnables after another. Reconcilers would
// then continue until the slowest Runnable that does not need leader election has
// stopped.
type baseContexts struct {
	gate *gate

	mu      sync.Mutex
	cancels []context.CancelCauseFunc
}

// wrap returns a BaseContext function for the options of the inner Manager. Each call
// of that function creates a context, which the method end cancels. The parent of this
// context is the context that user returns, or the background context if user is nil.
// After a term has begun, the created context also carries the term.
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

// end cancels all contexts that were created by the functions that wrap returned. The
// parameter cause becomes the cause of these contexts. Later calls of end do not change
// the cause.
func (b *baseContexts) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cancel := range b.cancels {
		cancel(cause)
	}
}

// A baseContext is a context that also carries the values of the term. The inner
// Manager creates its baseContext before the term begins. Therefore each call of Value
// looks up the values of the term in the gate.
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
