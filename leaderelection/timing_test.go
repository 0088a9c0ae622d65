package leaderelection_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// durations are what the answers of Config.Timing are checked for.
var durations = map[string]func() (lease, deadline, retry time.Duration){
	"default":      func() (_, _, _ time.Duration) { return },
	"outage 20s":   func() (_, _, _ time.Duration) { return leaderelection.TolerateOutage(20 * time.Second) },
	"failover 5s":  func() (_, _, _ time.Duration) { return leaderelection.FailOverWithin(5 * time.Second) },
	"capped":       func() (_, _, _ time.Duration) { return 15 * time.Second, 14 * time.Second, 2 * time.Second },
	"few retries":  func() (_, _, _ time.Duration) { return 15 * time.Second, 10 * time.Second, 8 * time.Second },
	"many retries": func() (_, _, _ time.Duration) { return 10 * time.Second, 8 * time.Second, 250 * time.Millisecond },
}

// eachTiming runs f once for each of durations.
func eachTiming(t *testing.T, f func(s *stage, timed setting, c leaderelection.Config)) {
	for name, pick := range durations {
		t.Run(name, func(t *testing.T) {
			var c leaderelection.Config
			timed := withConfig(func(own *leaderelection.Config) {
				own.LeaseDuration, own.RenewDeadline, own.RetryPeriod = pick()
				own.ReleaseOnCancel = true
				c = *own
			})
			play(t, func(s *stage) {
				s.candidate("nobody", nil, timed) // fills c in
				f(s, timed, filled(c))
			})
		})
	}
}

// filled is c as an Elector sees it.
func filled(c leaderelection.Config) leaderelection.Config {
	e, err := leaderelection.New(&c, fake.NewClientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
	if err != nil {
		panic(err)
	}
	return e.Config()
}

// afterRenewal waits until just after r's next renewal was answered, and then for
// some parts of a hundred of the RetryPeriod.
func (r *replica) afterRenewal(percent int) {
	for contact := r.LastContact(); !r.LastContact().After(contact); {
		time.Sleep(epsilon / 10)
	}
	time.Sleep(r.Config().RetryPeriod * time.Duration(percent) / 100)
}

// epsilon is what requests and the steps of these tests take.
const epsilon = 10 * time.Millisecond

func TestTiming_AnOutageIsSurvivedForAsLongAsItSays(t *testing.T) {
	eachTiming(t, func(s *stage, timed setting, c leaderelection.Config) {
		timing := c.Timing()
		a := s.start("a", timed)
		s.until(time.Second, a.IsLeader)
		for name, mode := range map[string]leaderelectiontest.Mode{"requests hang": hang, "connections are refused": refuse} {
			for percent := 0; percent < 100; percent += 19 {
				a.afterRenewal(percent)
				term, _ := a.Term()
				a.network.Cut(mode)
				time.Sleep(timing.Outage - epsilon)
				a.network.Heal()
				time.Sleep(c.LeaseDuration)
				if now, leads := a.Term(); !leads || now != term {
					t.Errorf("an outage (%s) of %v that began after %d%% of RetryPeriod ended the term", name, timing.Outage, percent)
					s.until(time.Minute, a.IsLeader)
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

// What Timing says is not merely safe: a little more than Outage ends a term that
// has just missed a renewal.
func TestTiming_AnOutageThatIsLongerMayEndTheTerm(t *testing.T) {
	eachTiming(t, func(s *stage, timed setting, c leaderelection.Config) {
		a := s.start("a", timed)
		s.until(time.Second, a.IsLeader)
		a.afterRenewal(95)
		a.network.Cut(hang)
		time.Sleep(c.Window() - c.RetryPeriod + c.RetryPeriod/10)
		if a.IsLeader() {
			t.Errorf("an outage of %v did not end the term", c.Window()-c.RetryPeriod)
		}
	})
}

// leaderless is how long it took from an event until who led, at most limit.
func (s *stage) leaderless(what string, limit time.Duration, candidates ...*replica) {
	s.Helper()
	leads := func(r *replica) bool { return r.IsLeader() }
	for began := s.clock(); !slices.ContainsFunc(candidates, leads); time.Sleep(epsilon / 2) {
		if took := s.clock() - began; took > limit+epsilon {
			s.Fatalf("after %s nobody led for %v, want at most %v", what, took, limit)
		}
	}
}

// polls makes a replica's client unable to watch.
func polls(r *replica) { r.stage.server.Client(r.config.Identity).Deny("watch") }

func TestTiming_NobodyLeadsForNoLongerThanItSays(t *testing.T) {
	for _, polling := range []bool{false, true} {
		t.Run(fmt.Sprintf("polling=%v", polling), func(t *testing.T) {
			eachTiming(t, func(s *stage, timed setting, c leaderelection.Config) {
				timing, more, mayWatch := c.Timing(), time.Duration(0), setting(func(*replica) {})
				if polling {
					more, mayWatch = timing.Polling, polls
				}
				start := func(identity string) *replica { return s.start(identity, timed, mayWatch) }
				a := start("a")
				s.until(time.Second, a.IsLeader)
				b, d := start("b"), start("d")
				time.Sleep(c.LeaseDuration) // one of them has become the heir
				_ = a.stop()
				s.leaderless("a release", timing.Release+more, b, d)

				leader, heir := b, d
				if d.IsLeader() {
					leader, heir = d, b
				}
				e := start("e")
				time.Sleep(c.LeaseDuration)
				heir.network.Cut(refuse) // it claims nothing
				_ = leader.stop()
				s.leaderless("a release with an heir that is gone", timing.Release+more, e)
				heir.network.Heal()

				time.Sleep(c.LeaseDuration)
				e.afterRenewal(20)
				e.network.Cut(hang)
				s.until(c.Window(), func() bool { return e.State().EndCause != nil })
				told := s.clock()
				s.leaderless("a partition", timing.Partition+more, heir)
				if margin := s.clock() - told; margin < timing.Stop {
					t.Errorf("the work had %v to stop, want %v", margin, timing.Stop)
				}
				e.network.Heal()

				time.Sleep(c.LeaseDuration)
				heir.afterRenewal(0)
				heir.network.Cut(hang) // to the others it is as if it had died
				s.leaderless("a crash", timing.Crash+more, e)
			})
		})
	}
}

func TestTiming_TolerateOutageDoes(t *testing.T) {
	for outage := time.Second; outage < 3*time.Minute; outage += 700 * time.Millisecond {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(outage)
		if got := filled(c).Timing(); got.Outage < outage || got.Crash > outage*4/3+7*time.Second {
			t.Errorf("TolerateOutage(%v) = %v, %v, %v: %v", outage, c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, got)
		}
	}
	if lease, deadline, retry := leaderelection.TolerateOutage(8 * time.Second); lease != leaderelection.DefaultLeaseDuration ||
		deadline != leaderelection.DefaultRenewDeadline || retry != leaderelection.DefaultRetryPeriod {
		t.Errorf("TolerateOutage(8s) = %v, %v, %v, want the defaults", lease, deadline, retry)
	}
}

func TestTiming_FailOverWithinDoes(t *testing.T) {
	for limit := 2500 * time.Millisecond; limit < 3*time.Minute; limit += 700 * time.Millisecond {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.FailOverWithin(limit)
		if got := filled(c).Timing(); got.Crash > limit || got.Outage < limit*2/5-time.Second {
			t.Errorf("FailOverWithin(%v) = %v, %v, %v: %v", limit, c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, got)
		}
	}
}

func TestTiming_NonsenseIsServedToo(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 1<<63 - 1} {
		c := leaderelection.Config{Enabled: true, Identity: "a", LeaseName: "l", LeaseNamespace: "n"}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.TolerateOutage(d)
		filled(c)
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = leaderelection.FailOverWithin(d)
		filled(c)
	}
	if timing := (leaderelection.Config{}).Timing(); timing != (leaderelection.Timing{}) {
		t.Errorf("an election that is not enabled has times: %v", timing)
	}
}

func TestTiming_IsLoggedOnceAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var lines lineHandler
		elector, err := leaderelection.New(config("a"), server.Client("a").Clientset(), leaderelection.Callbacks{}, lines.logger())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := elector.Run(ctx); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(lines.all(), "\n")
		if n := strings.Count(text, "timing.outage=8s"); n != 1 {
			t.Errorf("the timing was logged %d times:\n%s", n, text)
		}
	})
}
