package manager

import (
	"context"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
)

// baseContexts are what the contexts of all Runnables derive from. Cancelling
// them reaches every Runnable at once; cancelling the context given to Start
// reaches one group after another, and reconcilers only after the slowest
// Runnable that needs no leader election.
type baseContexts struct {
	gate *gate

	mu      sync.Mutex
	cancels []context.CancelCauseFunc
}

// wrap returns user's contexts with an end of our own and, while there is one,
// with the term. A nil user means the background.
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

// end cancels all of them. Only the first cause counts.
func (b *baseContexts) end(cause error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, cancel := range b.cancels {
		cancel(cause)
	}
}

// A baseContext carries the term although it was made long before: the groups
// ask for it when the Manager is made.
type baseContext struct {
	context.Context
	gate *gate
}

// Value is the user's value, else that of the term. The term's logger is left
// out: Runnables have the Manager's.
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
