package leaderelection_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func config(identity string) *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: identity, LeaseName: "my-app-leader", LeaseNamespace: "default",
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
	}
}

func TestElector_LeadsOnTheFakeClientset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset := fake.NewClientset()
		started := make(chan leaderelection.Term, 1)
		stopped := make(chan struct{}, 1)
		elector, err := leaderelection.New(config("pod-1"), clientset, leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) {
				term, _ := leaderelection.TermFromContext(ctx)
				started <- term
				<-ctx.Done()
			},
			OnStoppedLeading: func() { stopped <- struct{}{} },
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- elector.Run(ctx) }()

		if term := <-started; term.Token == 0 {
			t.Errorf("term = %+v, want one with a token", term)
		}
		if !elector.IsLeader() || elector.GetLeader() != "pod-1" {
			t.Errorf("IsLeader = %v, GetLeader = %q while leading", elector.IsLeader(), elector.GetLeader())
		}
		time.Sleep(time.Minute)
		if !elector.IsLeader() || elector.ValidFor() <= 0 {
			t.Errorf("no leader after a minute of renewals, valid for %v", elector.ValidFor())
		}
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
		<-stopped
		if elector.IsLeader() || elector.GetLeader() != "" {
			t.Errorf("IsLeader = %v, GetLeader = %q after Run", elector.IsLeader(), elector.GetLeader())
		}
		lease, err := clientset.CoordinationV1().Leases("default").Get(t.Context(), "my-app-leader", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != "" {
			t.Errorf("the Lease after a clean stop = %+v, %v; want it free", lease, err)
		}
	})
}
