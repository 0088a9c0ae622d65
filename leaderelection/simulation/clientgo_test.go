package simulation

import (
	"context"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// bare is client-go's LeaderElector, begun anew whenever it gives up: what a
// process does that does not exit.
type bare struct {
	member *member
	now    atomic.Pointer[clientleaderelection.LeaderElector]
}

func clientGo(m *member) (candidate, error) { return &bare{member: m}, nil }

// Run campaigns until ctx ends.
func (b *bare) Run(ctx context.Context) error {
	c := b.member.world.config
	for ctx.Err() == nil {
		elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: c.LeaseNamespace, Name: c.LeaseName},
				Client:     b.member.clientset().CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: b.member.identity},
			},
			LeaseDuration: c.LeaseDuration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
			ReleaseOnCancel: c.ReleaseOnCancel,
			Callbacks: clientleaderelection.LeaderCallbacks{
				OnStartedLeading: b.member.duty.onStarted, OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return err
		}
		b.now.Store(elector)
		elector.Run(ctx)
		b.now.Store(nil)
	}
	return nil
}

// IsLeader is false between two runs: client-go's own answer stays true.
func (b *bare) IsLeader() bool {
	elector := b.now.Load()
	return elector != nil && elector.IsLeader()
}

// The rules that the referee applies are worth something only if it catches
// those who break them.
func TestReferee_FindsTheOverlapsOfClientGo(t *testing.T) {
	var runs, broken atomic.Int64
	for _, k := range kinds[:2] {
		t.Run(k.name, func(t *testing.T) {
			var bad, covered, all atomic.Int64
			forEach(t, *clientgo, func(t *testing.T, number uint64) {
				report := k.schedule(number).run(t, clientGo)
				all.Add(1)
				covered.Add(int64(report.covered))
				if len(report.violations) > 0 {
					bad.Add(1)
				}
			})
			if n := all.Load(); n > 0 {
				t.Logf("client-go had two leaders at once in %d of %d schedules, and a leader %.2f %% of the time",
					bad.Load(), n, 100*float64(covered.Load())/float64(n)/float64(length))
			}
			runs.Add(all.Load())
			broken.Add(bad.Load())
		})
	}
	if runs.Load() >= 2*defaultClientGo && broken.Load() == 0 {
		t.Errorf("the referee found no overlap in %d schedules: it is blind, or client-go has been mended", runs.Load())
	}
}
