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
	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// campaign runs an Elector until stop is called. name is the
// identity of the Elector.
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

// observeTwice reads the Lease twice, and returns the report. The reads are 3 s apart.
// A leader renews the Lease every 2 s, so the second read shows a renewal.
func observeTwice(t *testing.T, server *leaderelectiontest.Server) explain.Report {
	t.Helper()
	var observed explain.Observed
	for range 2 {
		time.Sleep(3 * time.Second)
		l, err := server.Get("ns", "app")
		if err != nil {
			t.Fatal(err)
		}
		observed = observed.With(l, time.Now())
	}
	return explain.Explain(observed, time.Now())
}

func TestExplain_AnElectorsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		stopA := campaign(t, server, "a")
		time.Sleep(time.Second)
		stopB := campaign(t, server, "b")
		a := observeTwice(t, server)
		if a.State != explain.Led || !a.Certain || a.Holder != "a" || a.Successor != "b" || !a.Writer.Incumbent {
			t.Errorf("while a leads:\n%v", a)
		}
		stopA()
		a = observeTwice(t, server)
		if a.State != explain.Led || a.Holder != "b" || a.Successor != "" || !a.Writer.Incumbent {
			t.Errorf("while b leads:\n%v", a)
		}
		if len(a.Terms) != 2 || a.Terms[0].Holder != "a" || a.Terms[0].End != "released" || a.Terms[1].Holder != "b" || a.Terms[1].End != "" {
			t.Errorf("the terms are %v", a.Terms)
		}
		stopB()
		a = observeTwice(t, server)
		if a.State != explain.Free || !a.Writer.Incumbent || a.Claim.Note != "" {
			t.Errorf("after both have released it:\n%v", a)
		}
	})
}

func TestExplain_ClientGosLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		clientset := server.Client("client-go").Clientset()
		stop := running(func(ctx context.Context) {
			clientleaderelection.RunOrDie(ctx, clientleaderelection.LeaderElectionConfig{
				Lock: &resourcelock.LeaseLock{
					LeaseMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}, Client: clientset.CoordinationV1(),
					LockConfig: resourcelock.ResourceLockConfig{Identity: "client-go"},
				},
				LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true,
				Callbacks: clientleaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {}},
			})
		})
		a := observeTwice(t, server)
		if a.State != explain.Led || !a.Certain || a.Holder != "client-go" || a.Writer.Incumbent || len(a.Terms) != 1 {
			t.Errorf("while it leads:\n%v", a)
		}
		stop()
		a = observeTwice(t, server)
		if a.State != explain.Free || a.Writer.Incumbent || a.Claim.Note == "" {
			t.Errorf("after it has released it:\n%v", a)
		}
	})
}
