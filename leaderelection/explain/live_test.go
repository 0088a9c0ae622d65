package explain_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// campaign runs one of our electors until stop.
func campaign(t *testing.T, server *leaderelectiontest.Server, name string) (stop func()) {
	t.Helper()
	elector, err := leaderelection.New(&leaderelection.Config{
		Enabled: true, Identity: name, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true,
	}, server.Client(name).Clientset(), leaderelection.Callbacks{OnStartedLeading: func(ctx context.Context) { <-ctx.Done() }},
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return running(func(ctx context.Context) {
		if err := elector.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func running(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	return func() { cancel(); <-done }
}

// looking looks at the Lease twice, with a renewal in between.
func looking(t *testing.T, server *leaderelectiontest.Server) explain.Answer {
	t.Helper()
	var seen explain.Seen
	for range 2 {
		time.Sleep(3 * time.Second)
		l, err := server.Get("ns", "app")
		if err != nil {
			t.Fatal(err)
		}
		seen = seen.After(l, time.Now())
	}
	return explain.Explain(seen, time.Now())
}

func TestExplain_OurElectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		stopA := campaign(t, server, "a")
		time.Sleep(time.Second)
		stopB := campaign(t, server, "b")
		a := looking(t, server)
		if a.State != explain.Led || !a.Certain || a.Leader != "a" || a.Heir != "b" || !a.Writer.Incumbent {
			t.Errorf("while a leads:\n%v", a)
		}
		stopA()
		a = looking(t, server)
		if a.State != explain.Led || a.Leader != "b" || a.Heir != "" || !a.Writer.Incumbent {
			t.Errorf("while b leads:\n%v", a)
		}
		if len(a.Terms) != 2 || a.Terms[0].Leader != "a" || a.Terms[0].End != "released" || a.Terms[1].Leader != "b" || a.Terms[1].End != "" {
			t.Errorf("the terms are %v", a.Terms)
		}
		stopB()
		a = looking(t, server)
		if a.State != explain.Free || !a.Writer.Incumbent || a.Claim.Note != "" {
			t.Errorf("after both have left:\n%v", a)
		}
	})
}

func TestExplain_ClientGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		clientset := server.Client("theirs").Clientset()
		stop := running(func(ctx context.Context) {
			clientleaderelection.RunOrDie(ctx, clientleaderelection.LeaderElectionConfig{
				Lock: &resourcelock.LeaseLock{
					LeaseMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}, Client: clientset.CoordinationV1(),
					LockConfig: resourcelock.ResourceLockConfig{Identity: "theirs"},
				},
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true,
				Callbacks: clientleaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
			})
		})
		a := looking(t, server)
		if a.State != explain.Led || !a.Certain || a.Leader != "theirs" || a.Writer.Incumbent || len(a.Terms) != 1 {
			t.Errorf("while it leads:\n%v", a)
		}
		stop()
		a = looking(t, server)
		if a.State != explain.Free || a.Writer.Incumbent || a.Claim.Note == "" {
			t.Errorf("after it has left:\n%v", a)
		}
	})
}
