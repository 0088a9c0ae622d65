package leaderelection_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// durations contains the durations for which the tests check Config.Timing.
var durations = map[string]func() (lease, deadline, retry time.Duration){
	"default":      func() (_, _, _ time.Duration) { return },
	"outage 20s":   func() (_, _, _ time.Duration) { return leaderelection.TolerateOutage(20 * time.Second) },
	"failover 5s":  func() (_, _, _ time.Duration) { return leaderelection.FailOverWithin(5 * time.Second) },
	"capped":       func() (_, _, _ time.Duration) { return 15 * time.Second, 14 * time.Second, 2 * time.Second },
	"few retries":  func() (_, _, _ time.Duration) { return 15 * time.Second, 10 * time.Second, 8 * time.Second },
	"many retries": func() (_, _, _ time.Duration) { return 10 * time.Second, 8 * time.Second, 250 * time.Millisecond },
}

// eachTiming runs f for each entry of the map durations. The setting timed gives a
// replica these durations. c is the resulting configuration.
func eachTiming(t *testing.T, f func(h *harness, timed setting, c leaderelection.Config)) {
	for name, pick := range durations {
		t.Run(name, func(t *testing.T) {
			var c leaderelection.Config
			timed := withConfig(func(own *leaderelection.Config) {
				own.LeaseDuration, own.RenewDeadline, own.RetryPeriod = pick()
				own.ReleaseOnCancel = true
				c = *own
			})
			withHarness(t, func(h *harness) {
				h.newReplica("nobody", nil, timed) // calls timed, which sets c
				f(h, timed, withDefaults(c))
			})
		})
	}
}

// withDefaults returns c with the defaults that an Elector uses.
func withDefaults(c leaderelection.Config) leaderelection.Config {
	e, err := leaderelection.New(&c, fake.NewClientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	return e.Config()
}

// afterRenewal waits for the reply to the next renewal. Then it waits for the given
// percentage of RetryPeriod.
func (r *replica) afterRenewal(percent int) {
	for contact := r.LastContact(); !r.LastContact().After(contact); {
		time.Sleep(epsilon / 10)
	}
	time.Sleep(r.Config().RetryPeriod * time.Duration(percent) / 100)
}

// epsilon is the tolerance of these tests for the time that requests and steps take.
const epsilon = 10 * time.Millisecond

func TestTiming_ATermSurvivesTheStatedOutage(t *testing.T) {
	eachTiming(t, func(h *harness, timed setting, c leaderelection.Config) {
		timing := c.Timing()
		a := h.start("a", timed)
		h.waitUntil(time.Second, a.IsLeader)
		for name, mode := range map[string]leaderelectiontest.Mode{"requests hang": hang, "connections are refused": refuse} {
			for percent := 0; percent < 100; percent += 19 {
				a.afterRenewal(percent)
				term, _ := a.Term()
				a.network.Cut(mode)
				time.Sleep(timing.Outage - epsilon)
				a.network.Heal()
				time.Sleep(c.LeaseDuration)
				if now, leads := a.Term(); !leads || now != term {
					t.Errorf("an outage (%s) of %v that started after %d%% of RetryPeriod ended the term", name, timing.Outage, percent)
					h.waitUntil(time.Minute, a.IsLeader)
				}
			}
		}
		a.afterRenewal(0)
		a.network.Cut(hang)
		time.Sleep(timing.OutageEnds + epsilon)
		if a.IsLeader() {
			t.Errorf("an outage of %v did not end the term", timing.OutageEnds)
		}
	})
}

// Regression test for this bug: the elector waited too long for a request that never
// returned. Therefore the elector did not send the last renewal before the end of
// trust.
func TestTiming_ATermSurvivesAnOutageWhoseRequestsNeverReturn(t *testing.T) {
	for _, outage := range []time.Duration{20 * time.Second, 2 * time.Minute, 10 * time.Minute} {
		for percent := 5; percent < 100; percent += 30 {
			withHarness(t, func(h *harness) {
				var down atomic.Bool
				a := h.start("a", withConfig(func(c *leaderelection.Config) {
					c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(outage)
				}), withRoundTrip(func(r *http.Request, next send) (*http.Response, error) {
					if down.Load() {
						<-r.Context().Done()
						return nil, r.Context().Err()
					}
					return next(r)
				}))
				h.waitUntil(time.Second, a.IsLeader)
				a.afterRenewal(percent)
				term, _ := a.Term()
				down.Store(true)
				time.Sleep(a.Config().Timing().Outage - epsilon)
				down.Store(false)
				time.Sleep(a.Config().LeaseDuration)
				if now, leads := a.Term(); !leads || now != term {
					t.Errorf("an outage of %v that started after %d%% of RetryPeriod ended the term", a.Config().Timing().Outage, percent)
				}
			})
		}
	}
}

// Timing.Outage must not be too small. An outage that is slightly longer than
// Timing.Outage, and starts just before a renewal, ends the term.
func TestTiming_ALongerOutageMayEndTheTerm(t *testing.T) {
	eachTiming(t, func(h *harness, timed setting, c leaderelection.Config) {
		a := h.start("a", timed)
		h.waitUntil(time.Second, a.IsLeader)
		a.afterRenewal(95)
		a.network.Cut(hang)
		time.Sleep(c.Window() - c.RetryPeriod + c.RetryPeriod/10)
		if a.IsLeader() {
			t.Errorf("an outage of %v did not end the term", c.Window()-c.RetryPeriod)
		}
	})
}

// wantLeaderWithin waits until one of the candidates leads. It fails the test if no
// candidate leads after limit.
func (h *harness) wantLeaderWithin(what string, limit time.Duration, candidates ...*replica) {
	h.Helper()
	leads := func(r *replica) bool { return r.IsLeader() }
	for began := h.elapsed(); !slices.ContainsFunc(candidates, leads); time.Sleep(epsilon / 2) {
		if took := h.elapsed() - began; took > limit+epsilon {
			h.Fatalf("after %s there was no leader for %v, want at most %v", what, took, limit)
		}
	}
}

// forbidWatch removes the right to watch from a replica. The replica then polls.
func forbidWatch(r *replica) { r.harness.server.Client(r.config.Identity).Deny("watch") }

func TestTiming_AHandoverTakesNoLongerThanStated(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprintf("polling=%v", polling), func(t *testing.T) {
			eachTiming(t, func(h *harness, timed setting, c leaderelection.Config) {
				timing, more, mayWatch := c.Timing(), time.Duration(0), setting(func(*replica) {})
				if polling {
					more, mayWatch = timing.Polling, forbidWatch
				}
				start := func(identity string) *replica { return h.start(identity, timed, mayWatch) }
				a := start("a")
				h.waitUntil(time.Second, a.IsLeader)
				b, d := start("b"), start("d")
				time.Sleep(c.LeaseDuration) // in this time, one of the followers becomes the successor
				_ = a.stop()
				h.wantLeaderWithin("a release", timing.Release+more, b, d)

				leader, successor := b, d
				if d.IsLeader() {
					leader, successor = d, b
				}
				e := start("e")
				time.Sleep(c.LeaseDuration)
				successor.network.Cut(refuse) // the successor can no longer claim the Lease
				_ = leader.stop()
				h.wantLeaderWithin("a release with a successor that is cut off", timing.Release+more, e)
				successor.network.Heal()

				time.Sleep(c.LeaseDuration)
				e.afterRenewal(20)
				e.network.Cut(hang)
				h.waitUntil(c.Window(), func() bool { return e.State().EndCause != nil })
				ended := h.elapsed()
				h.wantLeaderWithin("a partition", timing.Partition+more, successor)
				if margin := h.elapsed() - ended; margin < timing.Stop {
					t.Errorf("the work had %v to stop, want at least %v", margin, timing.Stop)
				}
				e.network.Heal()

				time.Sleep(c.LeaseDuration)
				successor.afterRenewal(0)
				successor.network.Cut(hang) // the other replicas cannot distinguish this from a crash
				h.wantLeaderWithin("a crash", timing.Crash+more, e)
			})
		})
	}
}

func TestTiming_TolerateOutageToleratesTheOutage(t *testing.T) {
	for outage := time.Second; outage < 3*time.Minute; outage += 700 * time.Millisecond {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(outage)
		if got := withDefaults(c).Timing(); got.Outage < outage || got.Crash > outage*4/3+7*time.Second {
			t.Errorf("TolerateOutage(%v) = %v, %v, %v: %v", outage, c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, got)
		}
	}
	if lease, deadline, retry := leaderelection.TolerateOutage(8 * time.Second); lease != leaderelection.DefaultLeaseDuration ||
		deadline != leaderelection.DefaultRenewDeadline || retry != leaderelection.DefaultRetryPeriod {
		t.Errorf("TolerateOutage(8s) = %v, %v, %v, want the defaults", lease, deadline, retry)
	}
}

func TestTiming_FailOverWithinFailsOverInTime(t *testing.T) {
	for limit := 2500 * time.Millisecond; limit < 3*time.Minute; limit += 700 * time.Millisecond {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.FailOverWithin(limit)
		if got := withDefaults(c).Timing(); got.Crash > limit || got.Outage < limit*2/5-time.Second {
			t.Errorf("FailOverWithin(%v) = %v, %v, %v: %v", limit, c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, got)
		}
	}
}

func TestTiming_ExtremeDurationsGiveValidConfigurations(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 1<<63 - 1} {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(d)
		withDefaults(c)
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.FailOverWithin(d)
		withDefaults(c)
	}
	if timing := (leaderelection.Config{}).Timing(); timing != (leaderelection.Timing{}) {
		t.Errorf("Timing of a disabled election = %v, want zero", timing)
	}
}

func TestTiming_IsLoggedOnceAtStart(t *testing.T) {
	withHarness(t, func(h *harness) {
		var lines lineHandler
		a := h.start("a", withLog(&lines))
		time.Sleep(time.Minute)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(lines.all(), "\n")
		if n := strings.Count(text, "timing.outage=8s"); n != 1 {
			t.Errorf("the timing was logged %d times, want once:\n%s", n, text)
		}
	})
}
