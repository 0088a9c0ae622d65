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

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_OnNewLeaderComesInOrderWithoutRepeats(t *testing.T) {
	play(t, func(s *stage) {
		follower := s.candidate("observer", nil)
		follower.network.Cut(hang, writes) // it only looks on
		follower.run()
		for i := range 3 {
			name := fmt.Sprint("leader-", i)
			r := s.start(name)
			s.until(time.Minute, r.IsLeader)
			time.Sleep(5 * time.Second)
			r.stop() // the Lease is free in between: that is no leader
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if want := []string{"leader-0", "leader-1", "leader-2"}; !slices.Equal(follower.leaders, want) {
			t.Errorf("OnNewLeader was told %q, want %q", follower.leaders, want)
		}
	})
}

func TestElector_ASlowOnNewLeaderDelaysNothing(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		var told []string
		client := s.server.Client("a")
		elector, err := leaderelection.New(config("a"), client.Clientset(), leaderelection.Callbacks{
			OnNewLeader: func(identity string) {
				told = append(told, identity)
				<-let
			},
		}, debugLogger)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		s.until(time.Second, elector.IsLeader)
		s.edit(giveTo("b"))
		s.until(time.Second, func() bool { return !elector.IsLeader() })
		s.edit(giveTo("c"))
		s.edit(giveTo("d"))
		synctest.Wait()
		cancel()
		if err := <-ran; err != nil { // though the callback has not returned
			t.Errorf("Run = %v", err)
		}
		close(let)
		synctest.Wait()
		if want := []string{"a", "d"}; !slices.Equal(told, want) {
			t.Errorf("a slow receiver was told %q, want the first and the newest: %q", told, want)
		}
	})
}

func TestElector_TheWorksContextCarriesTermLoggerAndReason(t *testing.T) {
	play(t, func(s *stage) {
		type key struct{}
		var lines lineHandler
		got := make(chan error, 1)
		elector, err := leaderelection.New(config("a"), s.server.Client("a").Clientset(), leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) {
				leaderelection.LoggerFromContext(ctx).Info("by slog")
				logr.FromContextOrDiscard(ctx).Info("by logr")
				if ctx.Value(key{}) != "mine" {
					t.Error("the values of Run's context are gone")
				}
				<-ctx.Done()
				got <- context.Cause(ctx)
			},
		}, lines.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.WithValue(s.Context(), key{}, "mine"))
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		s.until(time.Second, elector.IsLeader)
		term, _ := elector.Term()
		time.Sleep(time.Minute)
		cancel()
		<-ran
		if err := <-got; err != leaderelection.ErrCancelled { // exactly this one
			t.Errorf("context.Cause = %v, want ErrCancelled", err)
		}
		for _, message := range []string{"by slog", "by logr"} {
			want := fmt.Sprintf("INFO %s lease=default/my-app-leader identity=a term=%v", message, term.Token)
			if !slices.Contains(lines.all(), want) {
				t.Errorf("no line %q in %q", want, lines.all())
			}
		}
	})
}

func TestElector_SaysEachChangeOnce(t *testing.T) {
	play(t, func(s *stage) {
		var lines lineHandler
		client := s.server.Client("a")
		elector, err := leaderelection.New(config("a"), client.Clientset(), leaderelection.Callbacks{}, lines.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(s.Context())
		ran := make(chan error)
		go func() { ran <- elector.Run(ctx) }()
		s.until(time.Second, elector.IsLeader)
		client.Network().Fail(503, 0, writes)
		time.Sleep(8 * time.Second)
		client.Network().Heal()
		time.Sleep(time.Minute)
		cancel()
		<-ran
		counts := map[string]int{}
		for _, message := range []string{"Campaigning for lease", "New leader observed", "Became leader", "Lease requests failing", "Lease requests succeeding again", "Released lease"} {
			for _, line := range lines.all() {
				if len(line) > 5 && slices.Contains([]string{"INFO " + message, "WARN " + message}, line[:min(len(line), 5+len(message))]) {
					counts[message]++
				}
			}
			if counts[message] != 1 {
				t.Errorf("%d lines say %q, want one; all: %q", counts[message], message, lines.all())
			}
		}
	})
}

func TestElector_ChangesGiveTheStateFirstAndThenEachChange(t *testing.T) {
	play(t, func(s *stage) {
		a := s.start("a")
		s.until(time.Second, a.IsLeader)
		seen := make(chan leaderelection.State)
		ctx, cancel := context.WithCancel(s.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for state := range a.Changes(ctx) {
				seen <- state
			}
		}()
		if state := <-seen; !state.Leading || state.Leader != "a" || state.Term.Token == 0 {
			t.Errorf("a late subscriber is told %+v first", state)
		}
		s.edit(giveTo("b"))
		for state := range seen {
			if !state.Leading && state.Leader == "b" {
				if state.EndCause == nil {
					t.Error("the state does not say why the term ended")
				}
				break
			}
		}
		cancel()
		for range 3 {
			select {
			case <-seen:
			case <-done:
			}
		}
		<-done
	})
}

func TestElector_CallsWhatWrappersPutAroundTheCallbacks(t *testing.T) {
	play(t, func(s *stage) {
		var handed []*leaderelection.Elector
		around := func(name string) leaderelection.Option {
			return leaderelection.WithCallbackMiddleware(func(e *leaderelection.Elector, inner leaderelection.Callbacks) leaderelection.Callbacks {
				handed = append(handed, e)
				return leaderelection.Callbacks{
					OnStartedLeading: func(ctx context.Context) { s.note(name + " started"); inner.OnStartedLeading(ctx) },
					OnStoppedLeading: func() { inner.OnStoppedLeading(); s.note(name + " stopped") },
					OnNewLeader:      func(identity string) { inner.OnNewLeader(name + " saw " + identity) },
				}
			})
		}
		a := s.candidate("a", []leaderelection.Option{around("inner"), leaderelection.WithCallbackMiddleware(nil), around("outer")})
		a.run()
		s.until(time.Second, a.IsLeader)
		synctest.Wait()
		if err := a.stop(); err != nil {
			t.Error(err)
		}
		if !slices.Equal(handed, []*leaderelection.Elector{a.Elector, a.Elector}) {
			t.Error("the wrappers were not handed the Elector that New returned")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		want := []string{"outer started", "inner started", "a started", "a stopped", "inner stopped", "outer stopped"}
		if !slices.Equal(s.log, want) {
			t.Errorf("called were %q, want %q", s.log, want)
		}
		if want := []string{"inner saw outer saw a"}; !slices.Equal(a.leaders, want) {
			t.Errorf("OnNewLeader was told %q, want %q", a.leaders, want)
		}
	})
}

func TestElector_RunsCompanionsBesideEachRunThatCampaigns(t *testing.T) {
	play(t, func(s *stage) {
		companion := leaderelection.WithBackgroundTask(func(ctx context.Context, e *leaderelection.Elector, logger *slog.Logger) {
			logger.Info("Beside it")
			time.Sleep(time.Millisecond)
			s.note("beside " + e.Config().Identity)
			<-ctx.Done()
			time.Sleep(time.Minute)
			s.note("left " + e.Config().Identity)
		})
		var log lineHandler
		a := s.candidate("a", []leaderelection.Option{companion, leaderelection.WithBackgroundTask(nil)}, func(r *replica) { r.logger = log.logger() })
		for range 2 {
			a.run()
			s.until(time.Second, a.IsLeader)
			time.Sleep(time.Second)
			if err := a.stop(); err != nil {
				t.Error(err)
			}
			s.note("Run returned")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		one := []string{"a started", "beside a", "a stopped", "left a", "Run returned"}
		if want := slices.Concat(one, one); !slices.Equal(s.log, want) {
			t.Errorf("happened has %q, want %q", s.log, want)
		}
		if !slices.ContainsFunc(log.all(), func(line string) bool {
			return strings.Contains(line, "Beside it") && strings.Contains(line, "identity=a")
		}) {
			t.Errorf("the companion has not the Elector's logger: %q", log.all())
		}
	})
}

func TestElector_ACompanionIsToldWhenRunEndsByItself(t *testing.T) {
	play(t, func(s *stage) {
		let := make(chan struct{})
		defer close(let)
		companion := leaderelection.WithBackgroundTask(func(ctx context.Context, _ *leaderelection.Elector, _ *slog.Logger) { <-ctx.Done() })
		a := s.candidate("a", []leaderelection.Option{companion}, withWork(func(context.Context) { <-let }))
		a.run()
		s.until(time.Second, a.IsLeader)
		s.edit(func(lease *coordinationv1.Lease) { lease.Spec.HolderIdentity = new("somebody") })
		<-a.ran
		if !errors.Is(a.err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Run = %v", a.err)
		}
	})
}
