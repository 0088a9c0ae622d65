package manager

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

func TestGate_GetBlocksUntilTheGateIsOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate("a", "default/x")
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _, err = g.Get(t.Context())
		}()
		synctest.Wait()
		if isDone(done) || !isDone(g.asked) {
			t.Fatalf("Get has returned: %v, want it to wait; the gate was asked: %v", isDone(done), isDone(g.asked))
		}
		if !g.open(t.Context()) {
			t.Fatal("the gate did not open")
		}
		<-done
		if !apierrors.IsNotFound(err) {
			t.Errorf("Get returned %v, want NotFound: the lock does not exist", err)
		}
	})
}

func TestGate_GetEndsWithItsContext(t *testing.T) {
	g := newGate("a", "default/x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := g.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Get returned %v, want Canceled", err)
	}
}

func TestGate_CannotBeEnteredAfterShut(t *testing.T) {
	record := resourcelock.LeaderElectionRecord{HolderIdentity: "a"}
	for name, prepare := range map[string]func(*gate){
		"before it was opened": func(g *gate) { g.shut(); g.open(t.Context()) },
		"after Get":            func(g *gate) { g.open(t.Context()); _, _, _ = g.Get(t.Context()); g.shut() },
	} {
		g := newGate("a", "default/x")
		prepare(g)
		err := errors.Join(g.Create(t.Context(), record), g.Update(t.Context(), record))
		if !errors.Is(err, errGateShut) || g.entered {
			t.Errorf("shut %s: a claim returned %v, entered: %v", name, err, g.entered)
		}
		if apierrors.IsConflict(g.Create(t.Context(), record)) {
			t.Errorf("shut %s: the refusal is a conflict: client-go's release would recurse endlessly", name)
		}
	}
}

func TestGate_OpensOnceAndNotAfterShut(t *testing.T) {
	g := newGate("a", "default/x")
	if !g.open(t.Context()) || g.open(t.Context()) {
		t.Error("want the gate to open the first time, and not again")
	}
	if !g.shut() {
		t.Error("shut does not report that the gate was open")
	}
	g = newGate("a", "default/x")
	if g.shut() || g.open(t.Context()) {
		t.Error("a gate opened after shut")
	}
}

// The inner Manager must never lose its election. After a loss, controller-runtime
// would skip the grace period and return another error.
func TestGate_ClientGosElectorWinsWhenItOpensAndNeverLoses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate("a", "default/x")
		lease, renew, retry := gateTiming()
		var began, ended time.Time
		elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
			Lock: g, LeaseDuration: *lease, RenewDeadline: *renew, RetryPeriod: *retry,
			Callbacks: clientleaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { began = time.Now() },
				OnStoppedLeading: func() { ended = time.Now() },
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(logr.NewContext(t.Context(), logr.Discard()))
		go elector.Run(ctx)
		time.Sleep(1000 * time.Hour)
		opened := time.Now()
		g.open(t.Context())
		synctest.Wait()
		if !began.Equal(opened) {
			t.Errorf("it led from %v, want from when the gate was opened, %v", began, opened)
		}
		time.Sleep(1000 * time.Hour)
		g.shut()
		time.Sleep(1000 * time.Hour)
		if !ended.IsZero() {
			t.Errorf("it lost after %v", ended.Sub(began))
		}
		cancel()
		synctest.Wait()
		if ended.IsZero() {
			t.Error("it does not stop with its context")
		}
	})
}
