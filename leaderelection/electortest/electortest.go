// Package electortest has an Elector that a test drives by hand: lead now, lose
// now. It is for tests of code that depends on leadership.
//
// It is no imitation. An [Elector] is a real leaderelection.Elector on an
// in-memory API server of its own, so contexts carry their causes and terms,
// tokens grow, and callbacks come in the order that the real ones have. Nothing
// happens in its election but what the test asks for:
//
//	elector, err := electortest.New(nil, callbacks)
//	...
//	go elector.Run(ctx)               // or the code under test does it
//	err = elector.Lead(ctx)           // OnStartedLeading has a live context now
//	err = elector.Overtake(ctx, "b")  // another leader: the context is done, with ErrOvertaken
//
// One thing it does by itself, as real ones do: after StepDown it leads again one
// LeaseDuration later, unless somebody else was made leader by then.
//
// All of that takes milliseconds. What the real elector takes its time for, such
// as [Elector.LoseContact], takes none in a testing/synctest bubble.
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

// Another is who leads before the test has said anything else.
const Another = "another"

// An Elector is a leaderelection.Elector that leads when the test says so. Run
// it, or hand it to the code under test, as any other.
type Elector struct {
	*leaderelection.Elector
	config leaderelection.Config
	server *leaderelectiontest.Server
	client *leaderelectiontest.Client
}

// New makes an Elector that follows. The configuration may be nil; Enabled is
// set, and an empty Identity, LeaseName or LeaseNamespace gets a value. Options
// are those of leaderelection.New.
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

// Server is the API server that the Elector campaigns on, for all that the
// methods here do not do.
func (e *Elector) Server() *leaderelectiontest.Server { return e.server }

// Client is the Elector's client on that server, with its network.
func (e *Elector) Client() *leaderelectiontest.Client { return e.client }

// Lead makes the Elector leader and returns when it leads. It must be running,
// and the work of its last term must have returned. In real time it may take as
// long as a claim does, half a second at most.
func (e *Elector) Lead(ctx context.Context) error {
	e.Reconnect()
	if err := e.free(); err != nil {
		return err
	}
	return e.await(ctx, "it leads", func(s leaderelection.State) bool { return s.Leading })
}

// Overtake writes another holder into the Lease, as somebody does who breaks
// the rules, and returns when the Elector names him its leader: leadership is
// lost with leaderelection.ErrOvertaken.
func (e *Elector) Overtake(ctx context.Context, identity string) error {
	if _, err := e.server.Put(e.lease(heldBy(identity))); err != nil {
		return err
	}
	e.Reconnect() // not before: it would claim again what it still held when it lost contact
	return e.await(ctx, "it follows "+identity, func(s leaderelection.State) bool {
		return !s.Leading && s.Leader == identity
	})
}

// DeleteLease deletes the Lease, and returns when leadership is lost with
// leaderelection.ErrLeaseDeleted. [Another] makes it anew, and leads then.
func (e *Elector) DeleteLease(ctx context.Context) error {
	if _, err := e.server.Recreate(e.lease(heldBy(Another))); err != nil {
		return err
	}
	e.Reconnect()
	return e.awaitLoss(ctx)
}

// LoseContact cuts the Elector off from the API server until [Elector.Reconnect]
// or any other of these methods is called. The Lease goes on naming it: reconnected
// by Reconnect alone, it leads again. It returns when leadership is lost
// with leaderelection.ErrRenewalFailed, which takes up to Config.Window.
func (e *Elector) LoseContact(ctx context.Context) error {
	e.client.Network().Cut(leaderelectiontest.Refuse)
	return e.awaitLoss(ctx)
}

// Reconnect ends what LoseContact began.
func (e *Elector) Reconnect() { e.client.Network().Heal() }

// Close shuts the API server, once Run has returned.
func (e *Elector) Close() { e.server.Close() }

func (e *Elector) awaitLoss(ctx context.Context) error {
	return e.await(ctx, "it leads no more", func(s leaderelection.State) bool { return !s.Leading })
}

func (e *Elector) await(ctx context.Context, what string, reached func(leaderelection.State) bool) error {
	for state := range e.Changes(ctx) {
		if reached(state) {
			return nil
		}
	}
	return fmt.Errorf("electortest: the elector has not come so far that %s: %w", what, context.Cause(ctx))
}

// free takes the Lease from whoever holds it, unless that is the Elector.
func (e *Elector) free() error {
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

// heldBy gives the Lease to somebody for longer than any test takes.
func heldBy(identity string) coordinationv1.LeaseSpec {
	forever, now := int32(math.MaxInt32), metav1.NowMicro()
	return coordinationv1.LeaseSpec{
		HolderIdentity: &identity, LeaseDurationSeconds: &forever, AcquireTime: &now, RenewTime: &now,
	}
}
