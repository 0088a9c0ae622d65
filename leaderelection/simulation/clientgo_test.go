package simulation

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A clientGoElector runs client-go's LeaderElector. When the LeaderElector
// returns, the clientGoElector starts another LeaderElector, like a process
// that does not exit after a loss.
type clientGoElector struct {
	replica *replica
	current atomic.Pointer[clientleaderelection.LeaderElector]
}

// clientGo returns a candidate that uses client-go's LeaderElector.
func clientGo(rep *replica) (candidate, error) { return &clientGoElector{replica: rep}, nil }

// Run takes part in the election until ctx is cancelled.
func (e *clientGoElector) Run(ctx context.Context) error {
	c := e.replica.cluster.config
	for ctx.Err() == nil {
		elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: c.LeaseNamespace, Name: c.LeaseName},
				Client:     e.replica.clientset().CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: e.replica.identity},
			},
			LeaseDuration: c.LeaseDuration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
			ReleaseOnCancel: c.ReleaseOnCancel,
			Callbacks: clientleaderelection.LeaderCallbacks{
				OnStartedLeading: e.replica.callbacks.onStarted, OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return err
		}
		e.current.Store(elector)
		elector.Run(ctx)
		e.current.Store(nil)
	}
	return nil
}

// IsLeader returns false after client-go's Run has returned, while client-go's
// own IsLeader can still return true.
func (e *clientGoElector) IsLeader() bool {
	elector := e.current.Load()
	return elector != nil && elector.IsLeader()
}

// Under the faults of these schedules, client-go sometimes has two leaders at
// the same time. The test shows that the referee detects these overlaps.
func TestReferee_FindsTheOverlapsOfClientGo(t *testing.T) {
	runs, broken := 0, 0
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRow("client-go", k)
			forEach(t, *clientgo, func(t *testing.T, number uint64) {
				r.add(k.schedule(number).run(t, clientGo))
			})
			runs, broken = runs+r.runs, broken+r.overlapping
		})
	}
	if runs >= 5*defaultClientGo && broken == 0 {
		t.Errorf("the referee found no overlap in %d schedules: either it does not detect them, or client-go no longer has them", runs)
	}
}

// During a migration, candidates that use client-go and candidates that use
// this library share one Lease. Schedules with odd seeds migrate from client-go
// to this library. Schedules with even seeds migrate from this library to
// client-go. The referee determines which implementation caused an overlap.
// This library must not cause an overlap.
func TestMixedImplementations_IncumbentCausesNoOverlap(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRow("both", k)
			forEach(t, *mixed, func(t *testing.T, number uint64) {
				report := k.schedule(number).run(t, changeImplementation)
				r.add(report)
				report.fail(t, "TestMixedImplementations", k, number)
			})
		})
	}
}

// changeImplementation returns the candidate for a process of a pod. Each pod
// changes its implementation at its first restart. With an odd seed, the
// pods change from client-go to this library. With an even seed, they change to
// client-go. Pod 0 always changes in the opposite direction.
func changeImplementation(rep *replica) (candidate, error) {
	restarted, toIncumbent := rep.cluster.incarnations[rep.pod] > 1, rep.cluster.seed%2 == 1
	if first := rep.pod == 0; first != restarted == toIncumbent {
		return incumbent(rep)
	}
	return clientGo(rep)
}

// The ways in which client-go can cause two leaders at the same time.
const (
	worksTooLong    = "works too long"      // the work of a client-go candidate continues after the Lease has expired or was released
	claimsTooEarly  = "claims too early"    // client-go claims or clears a Lease that has not expired
	trustsLateReply = "trusts a late reply" // client-go starts a term after another candidate has claimed the Lease
)

// clientGoCause returns the way in which client-go caused an overlap of two
// leaders. If an Elector caused the overlap, clientGoCause returns "". older is
// the replica that started to lead first. client-go caused the overlap in these
// cases:
//
//   - The older leader uses client-go. The function checkWrites checks separately
//     that no Elector claims too early.
//   - The newer leader uses client-go, and another candidate has claimed the
//     Lease since the newer leader's last write.
//   - The older leader is an Elector, and client-go claimed or cleared the
//     Lease before the Lease expired.
//
// An Elector caused every other overlap.
func (c *cluster) clientGoCause(older, newer *replica) string {
	if !older.callbacks.checked {
		return worksTooLong
	}
	if !newer.callbacks.checked {
		if _, taker := c.lastWrite(newer); taker != nil {
			return trustsLateReply
		}
	}
	last, taker := c.lastWrite(older)
	deadline := last.Time.Add(c.config.LeaseDuration)
	if !time.Now().Before(deadline) || taker == nil {
		return ""
	}
	if taken := c.replicaOf(taker.Client); taken != nil && !taken.callbacks.checked {
		return claimsTooEarly
	}
	return ""
}

// lastWrite returns two writes. The write last is the replica's last write in
// which the replica is the holder. The write next is the first later write that
// changes the spec of the Lease, or nil.
func (c *cluster) lastWrite(rep *replica) (last leaderelectiontest.Write, next *leaderelectiontest.Write) {
	history := c.server.History()
	for i := len(history) - 1; i >= 0; i-- {
		write := history[i]
		if write.Client == rep.name && leaderelectiontest.Holder(write.After) == rep.identity {
			return write, next
		}
		if write.Before == nil || write.After == nil || !equality.Semantic.DeepEqual(write.Before.Spec, write.After.Spec) {
			next = &history[i]
		}
	}
	return last, next
}
