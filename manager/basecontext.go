package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// baseContexts are the parents of the contexts of all Runnables. Cancelling them reaches
// every Runnable at once. Cancelling the context of Start reaches one group after
// another, so reconcilers wait for the slowest Runnable without leader election.
type baseContexts struct {
	gate *gate

	mu      sync.Mutex
	cancels []context.CancelCauseFunc
}

// wrap returns a BaseContext whose contexts can be cancelled by end and carry the term
// once there is one. Their parents are the contexts of user, or the background context
// if user is nil.
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

// end cancels all contexts. Later calls do not change the cause.
func (b *baseContexts) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cancel := range b.cancels {
		cancel(cause)
	}
}

// A baseContext carries the term, although it is created before the term: the inner
// Manager calls BaseContext when it is created.
type baseContext struct {
	context.Context
	gate *gate
}

// Value returns the user's value, or the value of the term's context. It never returns
// the term's logger, because Runnables log with the Manager's.
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
