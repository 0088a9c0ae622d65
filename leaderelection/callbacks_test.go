package leaderelection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_LeadsOnTheFakeClientset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset()
		started := make(chan leaderelection.Term, 1)
		stopped := make(chan struct{}, 1)
		elector, err := leaderelection.New(config("pod-1"), clientset, leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) {
				term, _ := leaderelection.TermFromContext(ctx)
				started <- term
				<-ctx.Done()
			},
			OnStoppedLeading: func() { stopped <- struct{}{} },
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- elector.Run(ctx) }()

		if term := <-started; term.Token == 0 {
			t.Errorf("term = %+v, want a token", term)
		}
		if !elector.IsLeader() || elector.GetLeader() != "pod-1" {
			t.Errorf("IsLeader = %v, GetLeader = %q while leading", elector.IsLeader(), elector.GetLeader())
		}
		time.Sleep(time.Minute)
		if !elector.IsLeader() || elector.ValidFor() <= 0 {
			t.Errorf("the elector does not lead after a minute of renewals; ValidFor = %v", elector.ValidFor())
		}
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		<-stopped
		if elector.IsLeader() || elector.GetLeader() != "" {
			t.Errorf("IsLeader = %v, GetLeader = %q after Run", elector.IsLeader(), elector.GetLeader())
		}
		lease, err := clientset.CoordinationV1().Leases("default").Get(t.Context(), "my-app-leader", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "" {
			t.Errorf("the Lease after a clean stop = %+v, %v; want it released", lease, err)
		}
	})
}

func TestElector_CallsOnNewLeaderInOrderWithoutRepeats(t *testing.T) {
	withHarness(t, func(h *harness) {
		follower := h.newReplica("observer", nil)
		follower.network.Cut(hang, writes) // this follower cannot claim the Lease
		follower.run()
		for i := range 3 {
			name := fmt.Sprint("leader-", i)
			r := h.start(name)
			h.waitUntil(time.Minute, r.IsLeader)
			time.Sleep(5 * time.Second)
			r.stop() // nobody holds the Lease until the next replica starts
		}
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if want := []string{"leader-0", "leader-1", "leader-2"}; !slices.Equal(follower.leaders, want) {
			t.Errorf("OnNewLeader was called with %q, want %q", follower.leaders, want)
		}
	})
}

func TestElector_ASlowOnNewLeaderDelaysNothing(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		var leaders []string
		client := h.server.Client("a")
		elector, err := leaderelection.New(config("a"), client.Clientset(), leaderelection.Callbacks{
			OnNewLeader: func(identity string) {
				leaders = append(leaders, identity)
				<-unblock
			},
		}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(h.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		h.waitUntil(time.Second, elector.IsLeader)
		h.editLease(setHolder("b"))
		h.waitUntil(time.Second, func() bool { return !elector.IsLeader() })
		h.editLease(setHolder("c"))
		h.editLease(setHolder("d"))
		synctest.Wait()
		cancel()
		if err := <-ran; err != nil { // Run must not wait for OnNewLeader
			t.Errorf("Run = %v", err)
		}
		close(unblock)
		synctest.Wait()
		if want := []string{"a", "d"}; !slices.Equal(leaders, want) {
			t.Errorf("a slow OnNewLeader was called with %q, want the first and the newest leader: %q", leaders, want)
		}
	})
}

func TestElector_TheWorksContextCarriesTermLoggerAndCause(t *testing.T) {
	withHarness(t, func(h *harness) {
		type key struct{}
		var lines lineHandler
		got := make(chan error, 1)
		elector, err := leaderelection.New(config("a"), h.server.Client("a").Clientset(), leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) {
				leaderelection.LoggerFromContext(ctx).Info("by slog")
				logr.FromContextOrDiscard(ctx).Info("by logr")
				if ctx.Value(key{}) != "mine" {
					t.Error("the work's context lacks the values of Run's context")
				}
				<-ctx.Done()
				got <- context.Cause(ctx)
			},
		}, lines.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithValue(h.Context(), key{}, "mine"))
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		h.waitUntil(time.Second, elector.IsLeader)
		term, _ := elector.Term()
		time.Sleep(time.Minute)
		cancel()
		<-ran
		if err := <-got; err != leaderelection.ErrCancelled { // the cause must be ErrCancelled itself, not an error that wraps ErrCancelled
			t.Errorf("context.Cause = %v, want ErrCancelled", err)
		}
		for _, message := range []string{"by slog", "by logr"} {
			want := fmt.Sprintf("INFO %s lease=default/my-app-leader identity=a term=%v", message, term.Token)
			if !slices.Contains(lines.all(), want) {
				t.Errorf("the log lacks the line %q: %q", want, lines.all())
			}
		}
	})
}

func TestElector_LogsEachChangeOnce(t *testing.T) {
	withHarness(t, func(h *harness) {
		var lines lineHandler
		a := h.start("a", withLog(&lines))
		h.waitUntil(time.Second, a.IsLeader)
		a.network.Fail(503, 0, writes)
		time.Sleep(8 * time.Second)
		a.network.Heal()
		time.Sleep(time.Minute)
		_ = a.stop()
		counts := map[string]int{}
		for _, message := range []string{"Campaigning for lease", "New leader observed", "Became leader", "Lease requests failing", "Lease requests succeeding again", "Released lease"} {
			for _, line := range lines.all() {
				if len(line) > 5 && slices.Contains([]string{"INFO " + message, "ERROR " + message}, line[:min(len(line), strings.IndexByte(line, ' ')+1+len(message))]) {
					counts[message]++
				}
			}
			if counts[message] != 1 {
				t.Errorf("%d log lines with message %q, want one; all lines: %q", counts[message], message, lines.all())
			}
		}
	})
}

func TestElector_ChangesYieldsTheStateFirstAndThenEachChange(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.start("a")
		h.waitUntil(time.Second, a.IsLeader)
		states := make(chan leaderelection.State)
		ctx, cancel := context.WithCancel(h.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for state := range a.Changes(ctx) {
				states <- state
			}
		}()
		if state := <-states; !state.Leading || state.Leader != "a" || state.Term.Token == 0 {
			t.Errorf("the first state of a late subscriber is %+v, want the present one", state)
		}
		h.editLease(setHolder("b"))
		for state := range states {
			if !state.Leading && state.Leader == "b" {
				if state.EndCause == nil {
					t.Error("EndCause is nil after the term ended")
				}
				break
			}
		}
		cancel()
		for range 3 {
			select {
			case <-states:
			case <-done:
			}
		}
		<-done
	})
}

func TestElector_CallsTheMiddlewareAroundTheCallbacks(t *testing.T) {
	withHarness(t, func(h *harness) {
		var handed []*leaderelection.Elector
		around := func(name string) leaderelection.Option {
			return leaderelection.WithCallbackMiddleware(func(e *leaderelection.Elector, inner leaderelection.Callbacks) leaderelection.Callbacks {
				handed = append(handed, e)
				return leaderelection.Callbacks{
					OnStartedLeading: func(ctx context.Context) { h.record(name + " started"); inner.OnStartedLeading(ctx) },
					OnStoppedLeading: func() { inner.OnStoppedLeading(); h.record(name + " stopped") },
					OnNewLeader:      func(identity string) { inner.OnNewLeader(name + " saw " + identity) },
				}
			})
		}
		a := h.newReplica("a", []leaderelection.Option{around("inner"), leaderelection.WithCallbackMiddleware(nil), around("outer")})
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		synctest.Wait()
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(handed, []*leaderelection.Elector{a.Elector, a.Elector}) {
			t.Error("the middleware did not receive the Elector that New returned")
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		want := []string{"outer started", "inner started", "a started", "a stopped", "inner stopped", "outer stopped"}
		if !slices.Equal(h.events, want) {
			t.Errorf("calls in order: %q, want %q", h.events, want)
		}
		if want := []string{"inner saw outer saw a"}; !slices.Equal(a.leaders, want) {
			t.Errorf("OnNewLeader was called with %q, want %q", a.leaders, want)
		}
	})
}

func TestElector_RunsBackgroundTasksDuringEachRun(t *testing.T) {
	withHarness(t, func(h *harness) {
		task := leaderelection.WithBackgroundTask(func(ctx context.Context, e *leaderelection.Elector, logger *slog.Logger) {
			logger.Info("Background task started")
			time.Sleep(time.Millisecond)
			h.record("task started " + e.Config().Identity)
			<-ctx.Done()
			time.Sleep(time.Minute)
			h.record("task returned " + e.Config().Identity)
		})
		var log lineHandler
		a := h.newReplica("a", []leaderelection.Option{task, leaderelection.WithBackgroundTask(nil)}, withLog(&log))
		for range 2 {
			a.run()
			h.waitUntil(time.Second, a.IsLeader)
			time.Sleep(time.Second)
			if err := a.stop(); err != nil {
				t.Error(err)
			}
			h.record("Run returned")
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		one := []string{"a started", "task started a", "a stopped", "task returned a", "Run returned"}
		if want := slices.Concat(one, one); !slices.Equal(h.events, want) {
			t.Errorf("events in order: %q, want %q", h.events, want)
		}
		if !slices.ContainsFunc(log.all(), func(line string) bool {
			return strings.Contains(line, "Background task started") && strings.Contains(line, "identity=a")
		}) {
			t.Errorf("the background task did not get the Elector's logger: %q", log.all())
		}
	})
}

func TestElector_CancelsABackgroundTaskWhenRunEndsByItself(t *testing.T) {
	withHarness(t, func(h *harness) {
		unblock := make(chan struct{})
		defer close(unblock)
		task := leaderelection.WithBackgroundTask(func(ctx context.Context, _ *leaderelection.Elector, _ *slog.Logger) { <-ctx.Done() })
		a := h.newReplica("a", []leaderelection.Option{task}, withWork(func(context.Context) { <-unblock }))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)
		h.editLease(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = ptr.To("other") })
		<-a.ran
		if !errors.Is(a.err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Run = %v, want ErrWorkStillRunning", a.err)
		}
	})
}
