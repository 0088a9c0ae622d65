package leaderelection_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// The wall clock is set back by an hour. A candidate that uses client-go must still
// observe each renewal.
func TestElector_ClientGoSeesRenewalsAfterTheClockWasSetBack(t *testing.T) {
	withHarness(t, func(h *harness) {
		a := h.newReplica("a", nil)
		a.RenewedAt(time.Now().Add(time.Hour))
		a.run()
		h.waitUntil(time.Second, a.IsLeader)

		var taken atomic.Bool
		follower, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Name: a.config.LeaseName, Namespace: a.config.LeaseNamespace},
				Client:     h.server.Client("client-go").Clientset().CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: "client-go"},
			},
			LeaseDuration: a.config.LeaseDuration, RenewDeadline: a.config.RenewDeadline, RetryPeriod: a.config.RetryPeriod,
			Callbacks: clientleaderelection.LeaderCallbacks{
				OnStartedLeading: func(context.Context) { taken.Store(true) }, OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		returned := make(chan struct{})
		go func() {
			defer close(returned)
			follower.Run(ctx)
		}()
		time.Sleep(2 * time.Minute)
		if taken.Load() || !a.IsLeader() {
			t.Errorf("client-go claimed the Lease: %t; the Elector leads: %t, its last term ended with %v", taken.Load(), a.IsLeader(), a.State().EndCause)
		}
		cancel()
		<-returned
	})
}
