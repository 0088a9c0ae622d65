package integration_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestElector_ContinuesAfterErrorsOfEveryKind(t *testing.T) {
	t.Parallel()
	for _, status := range []int{
		http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
		http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			c := s.candidate("pod-1")
			before := c.Network().Fail(status, 0, leaderelectiontest.Resource("leases"), leaderelectiontest.Times(5))
			term := c.run().awaitTerm()
			if before.Hits() != 5 {
				t.Errorf("led after %d of 5 refusals", before.Hits())
			}
			if status == http.StatusNotFound {
				return // a leader treats "not found" as the deletion of the Lease
			}
			during := c.Network().Fail(status, 0, leaderelectiontest.Resource("leases"), leaderelectiontest.Times(3))
			during.Await(t)
			term.mustContinue(s.renewalsIn(s.config.Window()) + 2)
		})
	}
}

func TestElector_ErrorReplyToAWriteThatWasAppliedDoesNotEndTheTerm(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1")
	claim := c.Network().FailReplies(http.StatusGatewayTimeout, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
	c.run()
	claim.Await(t)
	expires := expiry(s.getLease())
	term := c.awaitTerm()
	if !term.AcquiredAt.Before(expires) {
		t.Error("waited until its own claim expired")
	}
	c.Network().FailReplies(http.StatusInternalServerError, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Times(2)).Await(t)
	term.mustContinue(s.renewalsIn(s.config.Window()) + 2)
}

func TestElector_LeadsWithSlowReplies(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1")
	c.Network().DelayReplies(2*s.config.RetryPeriod, leaderelectiontest.Resource("leases"))
	c.run().awaitTerm().mustContinue(5)
}

func TestElector_HungRequestsDoNotEndTheTerm(t *testing.T) {
	s := newSharedCluster(t, longLease)
	_, _, term := startTwo(s, s.candidate)
	hung := term.candidate.Network().Cut(leaderelectiontest.Hang, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Times(3))
	hung.Await(t)
	term.mustContinue(s.renewalsIn(s.config.Window()) + 2)
	if hung.Hits() != 3 {
		t.Errorf("%d requests hung, want 3", hung.Hits())
	}
}

func TestElector_FollowerWithAStalledWatchLeadsNext(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.candidate)
	second.Network().StallWatches()
	expires := expiry(s.getLease())
	if err := first.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if term := second.awaitTerm(); term.AcquiredAt.After(expires.Add(s.config.LeaseDuration)) {
		t.Errorf("claimed %v after the Lease expired", term.AcquiredAt.Sub(expires))
	}
}

func TestElector_LeaderWithAStalledWatchContinues(t *testing.T) {
	s := newSharedCluster(t, longLease)
	first, _, term := startTwo(s, s.candidate)
	first.Network().StallWatches()
	term.mustContinue(s.renewalsIn(s.config.Window()) + 2)
	first.Network().Heal() // the watch events that arrive now are outdated
	first.Network().DropWatches()
	term.mustContinue(2)
}

func TestElector_LogsOnceThatTheAPIServerIsUnreachable(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1")
	away := c.Network().Cut(leaderelectiontest.Refuse, leaderelectiontest.Times(10))
	c.run().awaitTerm()
	if away.Hits() < 10 {
		t.Errorf("led after %d of 10 refusals", away.Hits())
	}
	if got := strings.Count(s.logs.String(), "level=WARN") + strings.Count(s.logs.String(), "level=ERROR"); got != 1 {
		t.Errorf("%d warnings, want 1:\n%s", got, s.logs)
	}
}
