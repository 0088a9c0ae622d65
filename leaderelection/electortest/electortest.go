// Package electortest provides an Elector whose leadership a test controls. Use it to
// test code that depends on leadership.
//
// An [Elector] is a real leaderelection.Elector with its own in-memory API server.
// Therefore contexts, fencing tokens and callbacks behave as in production. The methods
// of the Elector change which candidate leads:
//
//	elector, err := electortest.New(nil, callbacks)
//	...
//	go elector.Run(ctx)               // or the code under test calls Run
//	err = elector.Lead(ctx)           // the Elector leads and calls OnStartedLeading
//	err = elector.Overtake(ctx, "b")  // b leads, and the context of OnStartedLeading ends with ErrOvertaken
//
// One LeaseDuration after [leaderelection.Elector.StepDown], the Elector leads again
// without a call of Lead. To prevent this, make another candidate the leader.
//
// Most methods return within milliseconds. [Elector.Lead] takes up to half a second.
// Directly after StepDown, Lead takes up to one LeaseDuration. [Elector.LoseContact]
// takes up to Config.Window. In a testing/synctest bubble, no method takes real time.
package electortest

import (
	"context"
	"fmt"
	"math"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// Another is the holder identity in the Lease until the first call of [Elector.Lead].
const Another = "another"

// An Elector is a leaderelection.Elector that becomes the leader when the test calls
// [Elector.Lead]. The test must call Run, or pass the Elector to the code under test,
// which calls Run.
type Elector struct {
	*leaderelection.Elector
	config leaderelection.Config
	server *leaderelectiontest.Server
	client *leaderelectiontest.Client
}

// New returns an Elector that does not lead yet. If config is nil, the Elector uses the
// default durations, and ReleaseOnCancel is true. New sets Enabled to true. If
// Identity, LeaseName or LeaseNamespace is empty, New fills in a value. New passes the
// options in opts to leaderelection.New.
func New(config *leaderelection.Config, callbacks leaderelection.Callbacks, opts ...leaderelection.Option) (*Elector, error) {
	e := &Elector{server: leaderelectiontest.NewServer()}
	if config != nil {
		e.config = *config
	} else {
		e.config.ReleaseOnCancel = true
	}
	e.config.Enabled = true
	for _, field := range []struct {
		value    *string
		fallback string
	}{{&e.config.Identity, "test"}, {&e.config.LeaseName, "test"}, {&e.config.LeaseNamespace, "default"}} {
		if *field.value == "" {
			*field.value = field.fallback
		}
	}
	e.client = e.server.Client(e.config.Identity)
	opts = append(opts, leaderelection.WithoutForeignReleaseDelay())
	var err error
	if e.Elector, err = leaderelection.New(&e.config, e.client.Clientset(), callbacks, nil, opts...); err != nil {
		return nil, err
	}
	_, err = e.server.Put(e.lease(heldBy(Another)))
	return e, err
}

// Server returns the API server of the Elector. Use the server for changes of the Lease
// that no method of Elector makes.
func (e *Elector) Server() *leaderelectiontest.Server { return e.server }

// Client returns the client that the Elector uses to reach the API server. A test can
// inject faults into the Network of this client.
func (e *Elector) Client() *leaderelectiontest.Client { return e.client }

// Lead makes the Elector the leader, and returns when the Elector leads. Call Run before
// Lead. If the Elector has led before, wait until the callbacks of that term have
// returned. In real time, Lead takes at most half a second. Directly after StepDown, Lead
// takes up to one LeaseDuration, because an Elector that stepped down waits before it
// claims the Lease again.
func (e *Elector) Lead(ctx context.Context) error {
	e.Reconnect()
	if err := e.freeLease(); err != nil {
		return err
	}
	return e.await(ctx, "the elector does not lead", func(s leaderelection.State) bool { return s.Leading })
}

// Overtake makes another candidate, with the given identity, the holder of the Lease.
// The candidate violates the protocol, because it does not wait until the Lease
// expires. The Elector's term ends with leaderelection.ErrOvertaken. Overtake returns
// when the Elector reports the other candidate as the leader.
func (e *Elector) Overtake(ctx context.Context, identity string) error {
	if _, err := e.server.Put(e.lease(heldBy(identity))); err != nil {
		return err
	}
	e.Reconnect() // reconnect after Put, because a connected Elector could renew the Lease before Put
	return e.await(ctx, "the elector does not follow "+identity, func(s leaderelection.State) bool {
		return !s.Leading && s.Leader == identity
	})
}

// DeleteLease deletes the Lease and creates it again with the holder [Another]. The term
// ends with leaderelection.ErrLeaseDeleted. DeleteLease returns when the Elector does not
// lead anymore.
func (e *Elector) DeleteLease(ctx context.Context) error {
	if _, err := e.server.Recreate(e.lease(heldBy(Another))); err != nil {
		return err
	}
	e.Reconnect()
	return e.awaitLoss(ctx)
}

// LoseContact cuts the Elector off from the API server. The cut lasts until Reconnect,
// Lead, Overtake or DeleteLease is called. The term ends with
// leaderelection.ErrRenewalFailed after at most Config.Window. LoseContact returns when
// the Elector does not lead anymore. The Lease still names the Elector as the holder.
// Therefore the Elector leads again after [Elector.Reconnect].
func (e *Elector) LoseContact(ctx context.Context) error {
	e.client.Network().Cut(leaderelectiontest.Refuse)
	return e.awaitLoss(ctx)
}

// Reconnect ends the cut that [Elector.LoseContact] started.
func (e *Elector) Reconnect() { e.client.Network().Heal() }

// Close closes the API server. Call it when Run has returned.
func (e *Elector) Close() { e.server.Close() }

func (e *Elector) awaitLoss(ctx context.Context) error {
	return e.await(ctx, "the elector still leads", func(s leaderelection.State) bool { return !s.Leading })
}

// await waits until the Elector has a state for which the function reached returns
// true. If ctx is done first, await returns an error that starts with problem.
func (e *Elector) await(ctx context.Context, problem string, reached func(leaderelection.State) bool) error {
	for state := range e.Changes(ctx) {
		if reached(state) {
			return nil
		}
	}
	return fmt.Errorf("electortest: %s: %w", problem, context.Cause(ctx))
}

// freeLease removes the holder from the Lease, unless the Elector is the holder.
func (e *Elector) freeLease() error {
	return e.server.Edit(e.config.LeaseNamespace, e.config.LeaseName, func(lease *coordinationv1.Lease) {
		if leaderelectiontest.Holder(lease) != e.config.Identity {
			lease.Spec = coordinationv1.LeaseSpec{}
		}
	})
}

func (e *Elector) lease(spec coordinationv1.LeaseSpec) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.config.LeaseNamespace, Name: e.config.LeaseName}, Spec: spec,
	}
}

// heldBy returns a Lease spec with this holder identity. The LeaseDuration is longer
// than any test.
func heldBy(identity string) coordinationv1.LeaseSpec {
	unlimited, now := int32(math.MaxInt32), metav1.NowMicro()
	return coordinationv1.LeaseSpec{
		HolderIdentity: &identity, LeaseDurationSeconds: &unlimited, AcquireTime: &now, RenewTime: &now,
	}
}
