// Package electortest provides an Elector whose leadership a test controls. It is for
// tests of code that depends on leadership.
//
// An [Elector] is a real leaderelection.Elector on an in-memory API server of its own.
// Contexts therefore carry their causes and terms, fencing tokens grow, and callbacks are
// called in their real order. Leadership changes only when the test asks for it:
//
//	elector, err := electortest.New(nil, callbacks)
//	...
//	go elector.Run(ctx)               // or the code under test calls Run
//	err = elector.Lead(ctx)           // OnStartedLeading now has a live context
//	err = elector.Overtake(ctx, "b")  // b is the leader: the context is done, with ErrOvertaken
//
// There is one exception, as with every Elector: it leads again one LeaseDuration after
// StepDown, unless the test made another leader in the meantime.
//
// Each change takes milliseconds, except [Elector.LoseContact], which takes up to
// Config.Window. In a testing/synctest bubble it takes no real time either.
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

// Another is the identity that holds the Lease before the first call of
// [Elector.Lead].
const Another = "another"

// An Elector is a leaderelection.Elector that leads when the test asks for it. Call its
// Run, or pass it to the code under test.
type Elector struct {
	*leaderelection.Elector
	config leaderelection.Config
	server *leaderelectiontest.Server
	client *leaderelectiontest.Client
}

// New returns an Elector that is a follower. The configuration may be nil. New sets
// Enabled, and gives a value to an empty Identity, LeaseName or LeaseNamespace. The
// options are those of leaderelection.New.
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

// Server returns the Elector's API server, for changes that this package has no method
// for.
func (e *Elector) Server() *leaderelectiontest.Server { return e.server }

// Client returns the Elector's client of that server, which also controls its network.
func (e *Elector) Client() *leaderelectiontest.Client { return e.client }

// Lead makes the Elector the leader, and returns when it leads. The Elector must be
// running, and the callbacks of its last term must have returned. In real time, Lead
// takes as long as a claim: at most half a second.
func (e *Elector) Lead(ctx context.Context) error {
	e.Reconnect()
	if err := e.freeLease(); err != nil {
		return err
	}
	return e.await(ctx, "the elector does not lead", func(s leaderelection.State) bool { return s.Leading })
}

// Overtake writes another holder into the Lease, as a client that violates the protocol
// would. The term ends with leaderelection.ErrOvertaken. Overtake returns when the
// Elector reports that identity as the leader.
func (e *Elector) Overtake(ctx context.Context, identity string) error {
	if _, err := e.server.Put(e.lease(heldBy(identity))); err != nil {
		return err
	}
	e.Reconnect() // only now, because the Elector would renew a Lease that still names it
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

// LoseContact cuts the Elector off from the API server, until Reconnect, Lead, Overtake
// or DeleteLease is called. The term ends with leaderelection.ErrRenewalFailed, which
// takes up to Config.Window. LoseContact returns when the Elector does not lead anymore.
// The Lease still names the Elector, so it leads again after [Elector.Reconnect].
func (e *Elector) LoseContact(ctx context.Context) error {
	e.client.Network().Cut(leaderelectiontest.Refuse)
	return e.awaitLoss(ctx)
}

// Reconnect ends the loss of contact that LoseContact started.
func (e *Elector) Reconnect() { e.client.Network().Heal() }

// Close closes the API server. Call it when Run has returned.
func (e *Elector) Close() { e.server.Close() }

func (e *Elector) awaitLoss(ctx context.Context) error {
	return e.await(ctx, "the elector still leads", func(s leaderelection.State) bool { return !s.Leading })
}

// await waits until reached returns true for the Elector's state. Otherwise problem
// describes the state that has not changed.
func (e *Elector) await(ctx context.Context, problem string, reached func(leaderelection.State) bool) error {
	for state := range e.Changes(ctx) {
		if reached(state) {
			return nil
		}
	}
	return fmt.Errorf("electortest: %s: %w", problem, context.Cause(ctx))
}

// freeLease removes the holder from the Lease, unless that is the Elector.
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

// heldBy returns a spec with that holder and a duration that outlasts any test.
func heldBy(identity string) coordinationv1.LeaseSpec {
	unlimited, now := int32(math.MaxInt32), metav1.NowMicro()
	return coordinationv1.LeaseSpec{
		HolderIdentity: &identity, LeaseDurationSeconds: &unlimited, AcquireTime: &now, RenewTime: &now,
	}
}
