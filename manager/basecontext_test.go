package manager

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// leadAlone starts an Elector whose election is disabled. The Elector leads without a
// Lease until the test ends or stop is called.
func leadAlone(t *testing.T) (e *leaderelection.Elector, term context.Context, stop func()) {
	t.Helper()
	terms := make(chan context.Context, 1)
	e, err := leaderelection.New(&leaderelection.Config{}, nil, leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { terms <- ctx },
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return e, <-terms, stop
}

type userKey struct{}

func TestBaseContext_CarriesTheUsersValuesAndTheTerm(t *testing.T) {
	g := newGate("a", "default/x")
	base := &baseContexts{gate: g}
	derive := base.wrap(func() context.Context { return context.WithValue(context.Background(), userKey{}, "mine") })
	ctx, cancel := context.WithCancel(derive()) // controller-runtime derives the contexts of its Runnables in the same way
	defer cancel()
	if _, ok := leaderelection.TermFromContext(ctx); ok {
		t.Error("the context has a term before the term begins")
	}
	e, term, _ := leadAlone(t)
	g.open(term)
	want, _ := e.Term()
	if got, ok := leaderelection.TermFromContext(ctx); !ok || got != want {
		t.Errorf("the term is %v, want %v", got, want)
	}
	if ctx.Value(userKey{}) != "mine" {
		t.Errorf("the user's value is %v", ctx.Value(userKey{}))
	}
	if _, err := logr.FromContext(ctx); err == nil {
		t.Error("the elector's logger replaces the Manager's")
	}
}

func TestBaseContext_EndCancelsAllDerivedContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &baseContexts{gate: newGate("a", "default/x")}
		first, second := base.wrap(nil)(), base.wrap(nil)()
		derived, cancel := context.WithCancel(second)
		defer cancel()
		cause := errors.New("over")
		base.end(cause)
		base.end(errors.New("again"))
		// The contexts must be cancelled when end has returned.
		for _, ctx := range []context.Context{first, second, derived} {
			if context.Cause(ctx) != cause {
				t.Errorf("a context ended because of %v, want %v", context.Cause(ctx), cause)
			}
		}
	})
}
