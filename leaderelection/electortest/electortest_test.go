package electortest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/electortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A codeUnderTest is an example of code that depends on leadership. terms
// receives the context of each term. ended receives a value when
// OnStoppedLeading is called.
type codeUnderTest struct {
	terms chan context.Context
	ended chan struct{}
}

func run(t *testing.T, config *leaderelection.Config) (*electortest.Elector, *codeUnderTest) {
	t.Helper()
	s := &codeUnderTest{terms: make(chan context.Context, 10), ended: make(chan struct{}, 10)}
	elector, err := electortest.New(config, leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { s.terms <- ctx },
		OnStoppedLeading: func() { s.ended <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- elector.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		elector.Close()
	})
	return elector, s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantEnd waits until the term has ended. It fails the test unless the term ended with
// the given cause.
func (s *codeUnderTest) wantEnd(t *testing.T, term context.Context, cause error) {
	t.Helper()
	<-term.Done()
	<-s.ended
	if got := context.Cause(term); !errors.Is(got, cause) {
		t.Fatalf("the term ended with %v, want %v", got, cause)
	}
}

func TestElector_LeadsAndLosesLeadershipOnlyWhenTheTestAsksForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		elector, s := run(t, nil)
		time.Sleep(time.Minute)
		if elector.IsLeader() || elector.GetLeader() != electortest.Another {
			t.Fatalf("without a call of Lead it leads: %v, leader %q", elector.IsLeader(), elector.GetLeader())
		}
		var last leaderelection.Token
		for _, lose := range []struct {
			how   func() error
			cause error
		}{
			{func() error { return elector.Overtake(ctx, "b") }, leaderelection.ErrOvertaken},
			{func() error { return elector.LoseContact(ctx) }, leaderelection.ErrRenewalFailed},
			{func() error { return elector.DeleteLease(ctx) }, leaderelection.ErrLeaseDeleted},
			{func() error { return elector.StepDown(ctx) }, leaderelection.ErrSteppedDown},
		} {
			must(t, elector.Lead(ctx))
			term := <-s.terms
			time.Sleep(time.Minute)
			if !elector.IsLeader() || term.Err() != nil {
				t.Fatal("it does not lead for a minute")
			}
			details, ok := leaderelection.TermFromContext(term)
			if !ok || details.Token <= last {
				t.Fatalf("the term is %+v after token %d", details, last)
			}
			last = details.Token
			must(t, lose.how())
			s.wantEnd(t, term, lose.cause)
			must(t, elector.Overtake(ctx, "c"))
			if elector.IsLeader() || elector.GetLeader() != "c" {
				t.Fatal("it does not follow")
			}
		}
	})
}

func TestElector_WorksInRealTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	elector, s := run(t, &leaderelection.Config{Identity: "me"})
	for range 3 {
		must(t, elector.Lead(ctx))
		term := <-s.terms
		must(t, elector.Overtake(ctx, "b"))
		s.wantEnd(t, term, leaderelection.ErrOvertaken)
	}
}

func TestElector_LeadReturnsTheContextsErrorIfItIsNotRunning(t *testing.T) {
	elector, err := electortest.New(nil, leaderelection.Callbacks{})
	must(t, err)
	defer elector.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := elector.Lead(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
