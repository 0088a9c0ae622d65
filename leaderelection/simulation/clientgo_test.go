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

// A clientGoElector runs client-go's LeaderElector and starts a new one whenever
// the last one returns, as a process does that does not exit after a loss.
type clientGoElector struct {
	replica *replica
	current atomic.Pointer[clientleaderelection.LeaderElector]
}

// clientGo makes a candidate that uses client-go's LeaderElector.
func clientGo(rep *replica) (candidate, error) { return &clientGoElector{replica: rep}, nil }

// Run campaigns until ctx is cancelled.
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

// IsLeader returns false between two runs, where client-go's IsLeader remains true.
func (e *clientGoElector) IsLeader() bool {
	elector := e.current.Load()
	return elector != nil && elector.IsLeader()
}

// client-go is known to have two leaders at once under these faults. The test
// shows that the referee detects them.
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

// During a migration, candidates of both implementations share one Lease. Odd
// seeds migrate from client-go to Incumbent, even seeds back. The referee
// attributes each overlap to one implementation, and Incumbent must cause none.
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

// changeImplementation makes a candidate of one implementation, and of the other
// one after a restart. Pod 0 migrates in the opposite direction.
func changeImplementation(rep *replica) (candidate, error) {
	restarted, toIncumbent := rep.cluster.incarnations[rep.pod] > 1, rep.cluster.seed%2 == 1
	if first := rep.pod == 0; first != restarted == toIncumbent {
		return incumbent(rep)
	}
	return clientGo(rep)
}

// The causes of an overlap that client-go is responsible for.
const (
	worksTooLong    = "works too long"      // it continues its work after its Lease expired or was released
	claimsTooEarly  = "claims too early"    // it claims or clears a Lease that has not expired
	trustsLateReply = "trusts a late reply" // it starts a term after another candidate claimed the Lease
)

// clientGoCause returns how client-go caused an overlap, and "" if an Elector
// caused it.
//
//   - client-go caused it if the older leader is client-go's. Electors never claim
//     too early: checkWrites checks each of their claims.
//   - client-go caused it if the newer leader is client-go's and another candidate
//     has claimed the Lease since.
//   - client-go caused it if it claimed or cleared the Lease of an Elector before
//     that Lease expired.
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

// lastWrite returns the last write of a replica that names it as the holder, and
// the first later write that changes the spec, nil if there is none.
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
