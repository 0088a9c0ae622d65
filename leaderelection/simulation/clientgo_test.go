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
	runs, broken := 0, 0
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRow("client-go", k)
			forEach(t, *clientgo, func(t *testing.T, number uint64) {
				r.add(k.schedule(number).run(t, clientGo))
			})
			runs, broken = runs+r.runs, broken+r.broken
		})
	}
	if runs >= 5*defaultClientGo && broken == 0 {
		t.Errorf("the referee found no overlap in %d schedules: it is blind, or client-go has been mended", runs)
	}
}

// In a migration there are candidates of both sorts on one Lease: those of odd
// seeds become ours when they are restarted, those of even seeds become
// client-go's. What client-go does there is its own; ours keep all the rules.
func TestMixedFleet_OursAddNothingToWhatClientGoBreaks(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRow("both", k)
			forEach(t, *mixed, func(t *testing.T, number uint64) {
				report := k.schedule(number).run(t, migrating)
				r.add(report)
				report.fail(t, "TestMixedFleet", k, number)
			})
		})
	}
}

func migrating(m *member) (candidate, error) {
	restarted, toOurs := m.world.lives[m.who] > 1, m.world.seed%2 == 1
	if first := m.who == 0; first != restarted == toOurs {
		return elector(m)
	}
	return clientGo(m)
}
