package manager_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// Runbooks and alerts search for the texts of client-go and controller-runtime.
func TestTexts_ContainTheWordsThatRunbooksSearchFor(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(manager.WithIdentity("a")))
		start(t, p)
		<-p.Elected()
		synctest.Wait()
		for message, text := range map[string]string{
			"Campaigning for lease": "attempting to acquire leader lease",
			"Became leader":         "successfully acquired lease",
		} {
			if len(p.logs.with(message, text)) != 1 {
				t.Errorf("the line %q does not contain %q", message, text)
			}
		}
		m.give("somebody")
		<-p.done
		if len(p.logs.with("Lost leadership", "failed to renew lease")) != 1 {
			t.Error("the loss of leadership is not logged with the text of client-go")
		}
		if !errors.Is(p.err, manager.ErrLeadershipLost) || !strings.Contains(p.err.Error(), "leader election lost") {
			t.Errorf("Start returned %v, want ErrLeadershipLost with the text of controller-runtime", p.err)
		}
	})
}

// Several errors have the text that controller-runtime gives them. errors.Is and
// errors.As find each of them.
func TestTexts_OfSeveralErrorsAreThoseOfControllerRuntime(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		grace, broken := time.Second, errors.New("broken")
		p := m.make("a", incumbent(manager.WithIdentity("a")), func(o *crmanager.Options) { o.GracefulShutdownTimeout = &grace })
		w := newWorker(time.Minute)
		fail := make(chan struct{})
		if err := errors.Join(p.Add(w), p.Add(crmanager.RunnableFunc(func(context.Context) error { <-fail; return broken }))); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-w.started
		close(fail)
		<-p.done
		<-w.returned
		time.Sleep(leaseDuration) // the campaign ends
		want := fmt.Sprintf("[broken, failed waiting for all runnables to end within grace period of 1s: %v]", context.DeadlineExceeded)
		if p.err == nil || p.err.Error() != want {
			t.Errorf("Start returned %v, want %s", p.err, want)
		}
		for _, err := range []error{broken, context.DeadlineExceeded, leaderelection.ErrWorkStillRunning} {
			if !errors.Is(p.err, err) {
				t.Errorf("Start returned %v, want that it wraps %v", p.err, err)
			}
		}
	})
}

func TestNew_RoundsLeaseDurationUp(t *testing.T) {
	for _, tc := range []struct{ set, used, renew time.Duration }{
		{10500 * time.Millisecond, 11 * time.Second, 8 * time.Second},
		{10*time.Second + 1, 11 * time.Second, 8 * time.Second},
		{10 * time.Second, 10 * time.Second, 8 * time.Second},
	} {
		t.Run(tc.set.String(), func(t *testing.T) {
			var logs logs
			mgr, err := manager.New(leaderelectiontest.NewServer().Client("a").Config(), crmanager.Options{
				LeaderElection: true, LeaderElectionID: "app", LeaderElectionNamespace: "ns", Logger: logs.logger(),
				LeaseDuration: &tc.set, RenewDeadline: &tc.renew,
			})
			if err != nil {
				t.Fatal(err)
			}
			config := manager.ElectorOf(mgr).Config()
			if config.LeaseDuration != tc.used || config.Window() > tc.used/10*9 {
				t.Errorf("LeaseDuration = %v, want %v; the trust window is %v", config.LeaseDuration, tc.used, config.Window())
			}
			if warned := len(logs.with("LeaseDuration is not whole seconds; rounding it up")) == 1; warned != (tc.set != tc.used) {
				t.Errorf("warned = %t", warned)
			}
		})
	}
	negative := -time.Second / 2
	if _, err := manager.New(leaderelectiontest.NewServer().Client("a").Config(), crmanager.Options{
		LeaderElection: true, LeaderElectionID: "app", LeaderElectionNamespace: "ns", LeaseDuration: &negative,
	}); err == nil {
		t.Error("New accepts a negative LeaseDuration")
	}
}
