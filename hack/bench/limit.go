package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// The limit is what a handover takes at least: the release, the watch's event
// and the claim, one after the other, and nothing else.
type limit struct {
	lease          string
	leader, heir   *client
	giving, taking coordinationclient.LeaseInterface
	held           *coordinationv1.Lease
	stream         watch.Interface
	events         <-chan watch.Event
}

func newLimit(ctx context.Context, c *cluster, lease string) (*limit, error) {
	l := &limit{lease: lease, leader: c.client(), heir: c.client()}
	l.giving = l.leader.clientset().CoordinationV1().Leases(namespace)
	l.taking = l.heir.clientset().CoordinationV1().Leases(namespace)
	var err error
	l.held, err = l.giving.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: lease, Namespace: namespace},
		Spec:       specOf("leader"),
	}, metav1.CreateOptions{})
	if err != nil {
		return l, err
	}
	l.stream, err = watchLease(ctx, l.taking, lease)
	if err != nil {
		return l, err
	}
	l.events = l.stream.ResultChan()
	return l, l.awaitHolder(ctx, "leader")
}

func watchLease(ctx context.Context, leases coordinationclient.LeaseInterface, name string) (watch.Interface, error) {
	return leases.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
}

func specOf(holder string) coordinationv1.LeaseSpec {
	now := metav1.NowMicro()
	return coordinationv1.LeaseSpec{
		HolderIdentity: &holder, LeaseDurationSeconds: new(int32(15)), LeaseTransitions: new(int32(1)),
		AcquireTime: &now, RenewTime: &now,
	}
}

// awaitHolder waits until the watch has shown that holder.
func (l *limit) awaitHolder(ctx context.Context, holder string) error {
	for {
		select {
		case event, ok := <-l.events:
			lease, isLease := event.Object.(*coordinationv1.Lease)
			if !ok || !isLease {
				return fmt.Errorf("the watch ended, or says %v", event.Object)
			}
			if *lease.Spec.HolderIdentity == holder {
				l.held = lease
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// handOver releases the Lease and claims it for the heir, and returns how long
// that took. Before that the leader renews, for a connection that has been idle for
// longer than those of the others would be slower.
func (l *limit) handOver(ctx context.Context) (time.Duration, error) {
	renewed := l.held.DeepCopy()
	renewed.Spec = specOf("leader")
	if _, err := l.giving.Update(ctx, renewed, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	if err := errors.Join(l.awaitHolder(ctx, "leader"), pause(ctx, settle+rand.N(settle))); err != nil {
		return 0, err
	}
	freed := l.held.DeepCopy()
	freed.Spec = specOf("")
	asked := time.Now()
	if _, err := l.giving.Update(ctx, freed, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	if err := l.awaitHolder(ctx, ""); err != nil {
		return 0, err
	}
	claimed := l.held.DeepCopy()
	claimed.Spec = specOf("heir")
	if _, err := l.taking.Update(ctx, claimed, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	took := time.Since(asked)
	return took, l.awaitHolder(ctx, "heir")
}

func (l *limit) close() {
	if l.stream != nil {
		l.stream.Stop()
	}
	l.leader.close()
	l.heir.close()
}
