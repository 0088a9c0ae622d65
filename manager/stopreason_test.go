package manager

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// The channels of the inner Manager, of a loss and of the grace period are ready at the
// same time. Start must not wait again, and must return the error that reports most.
func TestStop_NeitherWaitsNorLosesAnErrorIfAllEndsAtTheSameTime(t *testing.T) {
	failure := errors.New("out of order")
	for _, lost := range []bool{false, true} {
		for _, grace := range []time.Duration{0, 1} {
			for range 50 {
				synctest.Test(t, func(t *testing.T) {
					m := &electedManager{
						grace: grace, logger: logr.Discard(), gate: newGate("a", "ns/a"), base: &baseContexts{},
						stopInner: func() {}, endCampaign: func() {}, ended: make(chan struct{}),
						inner: begin(func() error { return failure }), campaign: &task{done: make(chan struct{})},
					}
					if lost {
						m.endTerm(leaderelection.ErrOvertaken)
					}
					<-m.inner.done
					before := time.Now()
					err := m.stop()
					if !errors.Is(err, failure) || errors.Is(err, ErrLeadershipLost) != lost || errors.Is(err, leaderelection.ErrWorkStillRunning) != lost {
						t.Errorf("grace %v, lost: %v: stop returned %v", grace, lost, err)
					}
					if took := time.Since(before); took > m.config.Margin() {
						t.Errorf("grace %v, lost: %v: stop took %v", grace, lost, took)
					}
				})
			}
		}
	}
}

// The error of a Runnable follows from the loss if the Runnable returns as soon as its
// context is cancelled.
func TestStop_AnErrorThatFollowsFromALossIsNotTheReason(t *testing.T) {
	m := &electedManager{logger: logr.Discard(), gate: newGate("a", "ns/a"), ended: make(chan struct{})}
	m.base = &baseContexts{cancels: []context.CancelCauseFunc{func(error) {
		if err := m.returned(errors.New("server closed")); err != nil {
			t.Errorf("the inner Manager gets %v", err)
		}
	}}}
	m.endTerm(leaderelection.ErrOvertaken)
	if failure := m.failure.Load(); failure != nil {
		t.Errorf("the reason for the stop is %v, want the loss", *failure)
	}
}

// The context of a leader-only Runnable is cancelled a moment after the context of Run or
// of the Runnable's own Start. An error in between follows from the stop.
func TestStop_ALeaderOnlyRunnableThatWasToldToStopDoesNotEndTheTerm(t *testing.T) {
	live := context.Background()
	done, cancel := context.WithCancel(live)
	cancel()
	for name, tc := range map[string]struct {
		term, registration, run context.Context
		ends                    bool
	}{
		"nothing":              {live, live, live, true},
		"the embedded Run":     {live, live, nil, true},
		"the term":             {done, live, live, false},
		"the Runnable's Start": {live, done, live, false},
		"Run":                  {live, live, done, false},
	} {
		g := newLeaderOnlyGroup(slog.New(slog.DiscardHandler))
		g.runCtx = tc.run
		if ends := g.failed(tc.term, &leaderOnly{}, &registration{ctx: tc.registration}, errors.New("server closed")); ends != tc.ends {
			t.Errorf("%s was stopped: the error ends the term: %v, want %v", name, ends, tc.ends)
		}
	}
}
