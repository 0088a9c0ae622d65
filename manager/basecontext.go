package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// baseContexts are the parents of the contexts of all Runnables. Cancelling the
// baseContexts reaches every Runnable at once. Cancelling the context of Start would
// reach one group of Runnables after another. Reconcilers would then continue until the
// slowest Runnable that does not need leader election has stopped.
type baseContexts struct {
	gate *gate

	mu      sync.Mutex
	cancels []context.CancelCauseFunc
}

// wrap returns a BaseContext function for the options of the inner Manager. The method
// end cancels the contexts that the function returns. When a term begins, these
// contexts also carry the term. Their parents are the contexts that user returns, or
// the background context if user is nil.
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

// end cancels all contexts with the given cause. Later calls do not change the cause.
func (b *baseContexts) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cancel := range b.cancels {
		cancel(cause)
	}
}

// A baseContext is a context that also carries the values of the term. Each call of
// Value looks them up in the gate, because the baseContext is created before the term
// begins: the inner Manager calls BaseContext when it is created.
type baseContext struct {
	context.Context
	gate *gate
}

// Value returns the user's value for key. If there is no such value, it returns the
// value in the context of the term. It does not return the logger of the term, because
// Runnables must use the logger of the Manager.
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
