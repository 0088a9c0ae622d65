package explain_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A recorder records the reports and errors of a Watcher.
type recorder struct {
	mu      sync.Mutex
	reports []explain.Report
	errors  []string // the messages of the errors; "" for each call of OnError with nil
}

func (c *recorder) observe(observed explain.Observed) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, explain.Explain(observed, time.Now()))
	return true
}

func (c *recorder) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := ""
	if err != nil {
		text = err.Error()
	}
	c.errors = append(c.errors, text)
}

// last returns the newest report.
func (c *recorder) last() explain.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reports[len(c.reports)-1]
}

// first returns the first report for which match returns true. If there is
// no such report, it returns the zero Report.
func (c *recorder) first(match func(explain.Report) bool) explain.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.reports, match); i >= 0 {
		return c.reports[i]
	}
	return explain.Report{}
}

// watching runs a Watcher until stop is called. The recorder c records the
// Watcher's reports and errors.
func watching(t *testing.T, client *leaderelectiontest.Client) (c *recorder, stop func()) {
	t.Helper()
	c = &recorder{}
	watcher := explain.Watcher{Leases: client.Clientset().CoordinationV1().Leases("ns"), Name: "app", OnObserved: c.observe, OnError: c.fail}
	return c, running(func(ctx context.Context) {
		if err := watcher.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

// While a leader renews its Lease, the Watcher must not report the Lease as expired,
// even if the Watcher has lost contact with the API server.
func TestWatcher_WithoutContactReportsNoExpiry(t *testing.T) {
	for _, tc := range []struct {
		name  string
		lose  func(*leaderelectiontest.Client)
		heal  func(*leaderelectiontest.Client)
		err   string
		lost  time.Duration // the loss of contact must be reported within this time
		found time.Duration // the new contact must be reported within this time
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
				c, stop := watching(t, reader)
				defer stop()
				time.Sleep(10 * time.Second)
				if a := c.last(); !a.Certain || a.State != explain.Led || len(c.errors) > 0 {
					t.Fatalf("with contact: %v, errors %q", a.Summary(), c.errors)
				}
				cut := time.Now()
				tc.lose(reader)
				time.Sleep(time.Minute)
				a := c.first(func(a explain.Report) bool { return a.ContactLost })
				if !a.ContactLost || a.Time.Sub(cut) > tc.lost {
					t.Errorf("lost contact is reported %v after the cut", a.Time.Sub(cut))
				}
				if a := c.last(); !a.ContactLost || a.Certain || a.Holder != "pod-1" || *a.Renewal.AgeSeconds > 2 {
					t.Errorf("after a minute:\n%v", a)
				}
				healed := time.Now()
				tc.heal(reader)
				time.Sleep(time.Minute)
				if a := c.first(func(a explain.Report) bool { return a.Time.After(healed) && a.Certain }); a.State != explain.Led || a.Time.Sub(healed) > tc.found {
					t.Errorf("new contact is reported %v after the network was healed: %v", a.Time.Sub(healed), a.Summary())
				}
				if a := c.first(explain.Report.NobodyLeads); a.State != "" {
					t.Errorf("a live leader is reported as expired:\n%v", a)
				}
				if a := c.last(); a.Renewal.LongestIntervalSeconds > 2.1 {
					t.Errorf("the longest interval is %v s, though no renewal was late", a.Renewal.LongestIntervalSeconds)
				}
				if len(c.errors) != 2 || !strings.Contains(c.errors[0], tc.err) || c.errors[1] != "" {
					t.Errorf("errors: %q", c.errors)
				}
			})
		})
	}
}

func TestWatcher_ReadsIfTheWatchIsSilentOrForbidden(t *testing.T) {
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
				c, stop := watching(t, reader)
				defer stop()
				time.Sleep(time.Minute)
				if a := c.first(func(a explain.Report) bool { return a.ContactLost || a.NobodyLeads() }); a.State != "" {
					t.Errorf("%v", a)
				}
				if a := c.last(); !a.Certain || a.State != explain.Led {
					t.Errorf("%v", a)
				}
				stopLeading()
				time.Sleep(explain.SilenceTimeout)
				if a := c.last(); a.State != explain.Free {
					t.Errorf("after the release: %v", a.Summary())
				}
				if errors := len(c.errors); errors != map[string]int{"silent": 0, "forbidden": 1}[name] {
					t.Errorf("errors: %q", c.errors)
				}
			})
		})
	}
}

// The API server sends no event when a Lease expires. Nevertheless the Watcher must
// report the expiry at once.
func TestWatcher_ReportsAnExpiryInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		defer campaign(t, server, "pod-1")()
		time.Sleep(time.Second)
		c, stop := watching(t, server.Client("reader"))
		defer stop()
		time.Sleep(10 * time.Second)
		server.Client("pod-1").Network().Cut(leaderelectiontest.Hang)
		time.Sleep(time.Minute)
		last := c.first(func(a explain.Report) bool { return a.State == explain.Overdue }).LastContact.Add(-10 * time.Second)
		for state, age := range map[explain.State]time.Duration{explain.Overdue: 10 * time.Second, explain.Expired: 15 * time.Second} {
			a := c.first(func(a explain.Report) bool { return a.State == state })
			if !a.Certain || a.Time.Sub(last).Round(10*time.Millisecond) != age {
				t.Errorf("%s is reported %v after the last renewal, certain: %v", state, a.Time.Sub(last), a.Certain)
			}
		}
		if a := c.last(); a.State != explain.Expired || !a.Certain {
			t.Errorf("%v", a)
		}
		server.Client("pod-1").Network().Heal()
		time.Sleep(time.Minute)
	})
}

func TestWatcher_FailsIfTheFirstReadDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		reader := server.Client("reader")
		reader.Deny("get")
		watcher := explain.Watcher{Leases: reader.Clientset().CoordinationV1().Leases("ns"), Name: "app", OnObserved: func(explain.Observed) bool {
			t.Error("it reports an observation without a read")
			return false
		}}
		if err := watcher.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("Run returned %v", err)
		}
	})
}

// If a call of OnObserved takes long, the Watcher must not report that contact is lost.
// A lateWatch opens its watch at the moment at which the caller stops.
type lateWatch struct {
	coordinationclient.LeaseInterface
	stream *watch.FakeWatcher
	stop   func()
}

func (l *lateWatch) Watch(context.Context, metav1.ListOptions) (watch.Interface, error) {
	l.stop()
	return l.stream, nil
}

func TestWatcher_StopsAWatchThatOpensTooLate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := leaderelectiontest.NewServer()
	defer server.Close()
	leases := &lateWatch{server.Client("reader").Clientset().CoordinationV1().Leases("ns"), watch.NewFake(), cancel}
	watcher := explain.Watcher{Leases: leases, Name: "app", OnObserved: new(recorder).observe, OnError: new(recorder).fail}
	if err := watcher.Run(ctx); err != nil {
		t.Error(err)
	}
	if !leases.stream.IsStopped() {
		t.Error("the watch was not stopped")
	}
}

func TestWatcher_ReadsAgainAfterASlowOnObserved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		defer campaign(t, server, "pod-1")()
		time.Sleep(time.Second)
		c, watcher := &recorder{}, explain.Watcher{Leases: server.Client("reader").Clientset().CoordinationV1().Leases("ns"), Name: "app"}
		watcher.OnObserved = func(observed explain.Observed) bool {
			if c.observe(observed); len(c.reports) == 1 {
				time.Sleep(2 * explain.SilenceTimeout)
			}
			return true
		}
		stop := running(func(ctx context.Context) {
			if err := watcher.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(time.Minute)
		stop()
		if a := c.first(func(a explain.Report) bool { return a.ContactLost }); a.State != "" {
			t.Errorf("%v", a)
		}
		if a := c.last(); a.State != explain.Led || !a.Certain {
			t.Errorf("%v", a)
		}
	})
}
