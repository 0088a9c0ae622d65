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
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A limit measures the shortest possible handover. One client releases a Lease. Another
// client receives the watch event of the release and then claims the Lease.
type limit struct {
	lease                        string
	leader, successor            *client
	leaderLeases, followerLeases coordinationclient.LeaseInterface
	current                      *coordinationv1.Lease
	stream                       watch.Interface
	events                       <-chan watch.Event
}

func newLimit(ctx context.Context, c *lab.Cluster, lease string) (*limit, error) {
	l := &limit{lease: lease, leader: newClient(c.Config), successor: newClient(c.Config)}
	l.leaderLeases = l.leader.clientset().CoordinationV1().Leases(namespace)
	l.followerLeases = l.successor.clientset().CoordinationV1().Leases(namespace)
	var err error
	l.current, err = l.leaderLeases.Create(ctx, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: lease, Namespace: namespace},
		Spec:       specOf("leader"),
	}, metav1.CreateOptions{})
	if err != nil {
		return l, err
	}
	l.stream, err = watchLease(ctx, l.followerLeases, lease)
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
		HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(15)), LeaseTransitions: ptr.To(int32(1)),
		AcquireTime: &now, RenewTime: &now,
	}
}

// awaitHolder waits until the watch reports that the Lease has the given holder.
func (l *limit) awaitHolder(ctx context.Context, holder string) error {
	for {
		select {
		case event, ok := <-l.events:
			lease, isLease := event.Object.(*coordinationv1.Lease)
			if !ok || !isLease {
				return fmt.Errorf("the watch ended, or sent %v", event.Object)
			}
			if *lease.Spec.HolderIdentity == holder {
				l.current = lease
				return nil
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// handOver measures one handover. It returns the time from the start of the release to
// the reply to the claim. The leader first renews the Lease, because the release would
// take longer on an idle connection.
func (l *limit) handOver(ctx context.Context) (time.Duration, error) {
	renewed := l.current.DeepCopy()
	renewed.Spec = specOf("leader")
	if _, err := l.leaderLeases.Update(ctx, renewed, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	if err := errors.Join(l.awaitHolder(ctx, "leader"), lab.Sleep(ctx, settle+rand.N(settle))); err != nil {
		return 0, err
	}
	released := l.current.DeepCopy()
	released.Spec = specOf("")
	began := time.Now()
	if _, err := l.leaderLeases.Update(ctx, released, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	if err := l.awaitHolder(ctx, ""); err != nil {
		return 0, err
	}
	claimed := l.current.DeepCopy()
	claimed.Spec = specOf("successor")
	if _, err := l.followerLeases.Update(ctx, claimed, metav1.UpdateOptions{}); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, l.awaitHolder(ctx, "successor")
}

func (l *limit) close() {
	if l.stream != nil {
		l.stream.Stop()
	}
	l.leader.close()
	l.successor.close()
}
