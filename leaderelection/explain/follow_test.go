package explain_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A chronicle is what a Follower told.
type chronicle struct {
	mu       sync.Mutex
	answers  []explain.Answer
	troubles []string // "" when there is none any more
}

func (c *chronicle) hear(seen explain.Seen) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answers = append(c.answers, explain.Explain(seen, time.Now()))
	return true
}

func (c *chronicle) trouble(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.troubles = append(c.troubles, text)
}

// last is the newest answer, and since how many answers all but its times is so.
func (c *chronicle) last() explain.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answers[len(c.answers)-1]
}

// first is the first answer of that kind, or the zero one.
func (c *chronicle) first(match func(explain.Answer) bool) explain.Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.answers, match); i >= 0 {
		return c.answers[i]
	}
	return explain.Answer{}
}

// following follows the Lease until stop.
func following(t *testing.T, client *leaderelectiontest.Client) (c *chronicle, stop func()) {
	t.Helper()
	c = &chronicle{}
	follower := explain.Follower{Leases: client.Clientset().CoordinationV1().Leases("ns"), Name: "app", Hear: c.hear, Trouble: c.trouble}
	return c, running(func(ctx context.Context) {
		if err := follower.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Whatever keeps the reader from hearing of it, a live leader is not declared dead.
func TestFollower_ThatLosesContactDeclaresNobodyDead(t *testing.T) {
	for _, tc := range []struct {
		name        string
		lose        func(*leaderelectiontest.Client)
		heal        func(*leaderelectiontest.Client)
		trouble     string
		lost, found time.Duration // how soon that is told at the latest
	}{
		{"hangs", func(c *leaderelectiontest.Client) { c.Network().Cut(leaderelectiontest.Hang) },
			func(c *leaderelectiontest.Client) { c.Network().Heal() }, "cannot be read: ", 8 * time.Second, 8 * time.Second},
		{"refused", func(c *leaderelectiontest.Client) { c.Network().Cut(leaderelectiontest.Refuse) },
			func(c *leaderelectiontest.Client) { c.Network().Heal() }, "cannot be read: ", 6100 * time.Millisecond, 6 * time.Second},
		{"forbidden", func(c *leaderelectiontest.Client) { c.Deny("get", "watch"); c.Network().DropWatches() },
			func(c *leaderelectiontest.Client) { c.Allow() }, "forbidden", 6100 * time.Millisecond, 6 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := leaderelectiontest.NewServer()
				defer server.Close()
				defer campaign(t, server, "pod-1")()
				time.Sleep(time.Second)
				reader := server.Client("reader")
				c, stop := following(t, reader)
				defer stop()
				time.Sleep(10 * time.Second)
				if a := c.last(); !a.Certain || a.State != explain.Led || len(c.troubles) > 0 {
					t.Fatalf("with contact: %v, trouble %q", a.Summary(), c.troubles)
				}
				cut := time.Now()
				tc.lose(reader)
				time.Sleep(time.Minute)
				a := c.first(func(a explain.Answer) bool { return a.Lost })
				if !a.Lost || a.At.Sub(cut) > tc.lost {
					t.Errorf("that contact is lost is told %v after the cut", a.At.Sub(cut))
				}
				if a := c.last(); !a.Lost || a.Certain || a.Leader != "pod-1" || *a.Renewal.AgeSeconds > 2 {
					t.Errorf("after a minute:\n%v", a)
				}
				healed := time.Now()
				tc.heal(reader)
				time.Sleep(time.Minute)
				if a := c.first(func(a explain.Answer) bool { return a.At.After(healed) && a.Certain }); a.State != explain.Led || a.At.Sub(healed) > tc.found {
					t.Errorf("that contact is back is told %v after the healing: %v", a.At.Sub(healed), a.Summary())
				}
				if a := c.first(explain.Answer.Nobody); a.State != "" {
					t.Errorf("a live leader is declared dead:\n%v", a)
				}
				if a := c.last(); a.Renewal.EverySeconds > 2.1 {
					t.Errorf("renewals %v s apart, though none was late", a.Renewal.EverySeconds)
				}
				if len(c.troubles) != 2 || !strings.Contains(c.troubles[0], tc.trouble) || c.troubles[1] != "" {
					t.Errorf("troubles: %q", c.troubles)
				}
			})
		})
	}
}

func TestFollower_LooksWhereTheWatchIsSilentOrForbidden(t *testing.T) {
	for name, silence := range map[string]func(*leaderelectiontest.Client){
		"silent":    func(c *leaderelectiontest.Client) { c.Network().StallWatches() },
		"forbidden": func(c *leaderelectiontest.Client) { c.Deny("watch") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := leaderelectiontest.NewServer()
				defer server.Close()
				stopLeading := campaign(t, server, "pod-1")
				time.Sleep(time.Second)
				reader := server.Client("reader")
				silence(reader)
				c, stop := following(t, reader)
				defer stop()
				time.Sleep(time.Minute)
				if a := c.first(func(a explain.Answer) bool { return a.Lost || a.Nobody() }); a.State != "" {
					t.Errorf("%v", a)
				}
				if a := c.last(); !a.Certain || a.State != explain.Led {
					t.Errorf("%v", a)
				}
				stopLeading()
				time.Sleep(explain.Patience)
				if a := c.last(); a.State != explain.Free {
					t.Errorf("after the release: %v", a.Summary())
				}
				if troubles := len(c.troubles); troubles != map[string]int{"silent": 0, "forbidden": 1}[name] {
					t.Errorf("troubles: %q", c.troubles)
				}
			})
		})
	}
}

// A Lease lapses without an event, and that is told when it has, not when the next
// look happens to come.
func TestFollower_TellsOfALapseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		defer campaign(t, server, "pod-1")()
		time.Sleep(time.Second)
		c, stop := following(t, server.Client("reader"))
		defer stop()
		time.Sleep(10 * time.Second)
		server.Client("pod-1").Network().Cut(leaderelectiontest.Hang)
		time.Sleep(time.Minute)
		last := c.first(func(a explain.Answer) bool { return a.State == explain.Late }).Heard.Add(-10 * time.Second)
		for state, age := range map[explain.State]time.Duration{explain.Late: 10 * time.Second, explain.Expired: 15 * time.Second} {
			a := c.first(func(a explain.Answer) bool { return a.State == state })
			if !a.Certain || a.At.Sub(last).Round(10*time.Millisecond) != age {
				t.Errorf("%s is told %v after the last renewal, certain: %v", state, a.At.Sub(last), a.Certain)
			}
		}
		if a := c.last(); a.State != explain.Expired || !a.Certain {
			t.Errorf("%v", a)
		}
		server.Client("pod-1").Network().Heal()
		time.Sleep(time.Minute)
	})
}

func TestFollower_FailsIfTheFirstLookDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		reader := server.Client("reader")
		reader.Deny("get")
		follower := explain.Follower{Leases: reader.Clientset().CoordinationV1().Leases("ns"), Name: "app", Hear: func(explain.Seen) bool {
			t.Error("it tells what it cannot know")
			return false
		}}
		if err := follower.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("it returned %v", err)
		}
	})
}

// Whoever hears slowly has lost no contact: his own silence is nobody else's.
func TestFollower_LooksAgainWhenTheHearerTookHisTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		defer campaign(t, server, "pod-1")()
		time.Sleep(time.Second)
		c, follower := &chronicle{}, explain.Follower{Leases: server.Client("reader").Clientset().CoordinationV1().Leases("ns"), Name: "app"}
		follower.Hear = func(seen explain.Seen) bool {
			if c.hear(seen); len(c.answers) == 1 {
				time.Sleep(2 * explain.Patience)
			}
			return true
		}
		stop := running(func(ctx context.Context) {
			if err := follower.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		stop()
		if a := c.first(func(a explain.Answer) bool { return a.Lost }); a.State != "" {
			t.Errorf("%v", a)
		}
		if a := c.last(); a.State != explain.Led || !a.Certain {
			t.Errorf("%v", a)
		}
	})
}
