package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	operatorSize  = 3
	fleetSize     = 5
	rolloutRounds = 5
	// rolloutSettle is how long a new replica has before an old one is stopped: a
	// pod takes longer to become ready.
	rolloutSettle = 2500 * time.Millisecond
)

// measureRollout replaces all replicas, one by one: those of an operator, in any
// order, for the time in which nobody reconciles, and those of every contender, in
// the worst order, for the number of handovers. Replicas are processes, for which
// of them is the newest decides who leads next.
func (b *bench) measureRollout(ctx context.Context) (figures, error) {
	operators, err := b.rollOperators(ctx)
	if err != nil {
		return nil, err
	}
	fleets, err := b.rollFleets(ctx)
	if err != nil {
		return nil, err
	}
	return append(operatorFigures(operators), fleetFigures(fleets)...), nil
}

// rollOperators rolls one contender after the other, in another order in each
// round: the start of a process takes the machine's time from the others.
func (b *bench) rollOperators(ctx context.Context) (rolls map[string][]rollout, err error) {
	_, err = b.cluster.plane.Admin().Clientset().CoreV1().ConfigMaps(namespace).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	var fleets []*fleet
	defer func() { err = errors.Join(err, closeFleets(fleets)) }()
	for _, name := range []string{runtimeName, incumbentMgr} {
		o := ordersFor(name)
		o.Operator = true
		f, err := newFleet(ctx, b.cluster, o, operatorSize)
		fleets = append(fleets, f)
		if err != nil {
			return nil, err
		}
	}
	rolls = map[string][]rollout{}
	for round := range rolloutRounds {
		order := rand.Perm(operatorSize)
		for _, i := range rand.Perm(len(fleets)) {
			name := fleets[i].orders.Contender
			r, err := fleets[i].roll(ctx, fleets[i].inOrder(order), 1, settleDown)
			if err != nil {
				return nil, err
			}
			rolls[name] = append(rolls[name], r)
			b.progress("rollout: %s, round %d of %d: nobody reconciled for %.1f ms in %d handovers",
				name, round+1, rolloutRounds, milliseconds(r.idle), r.handovers)
		}
	}
	return rolls, nil
}

// rollFleets rolls all contenders side by side.
func (b *bench) rollFleets(ctx context.Context) (rolls map[string][]rollout, err error) {
	type outcome struct {
		name  string
		rolls []rollout
		err   error
	}
	outcomes := make(chan outcome)
	for _, c := range contenders {
		go func() {
			rolls, err := b.rollFleet(ctx, c.name)
			outcomes <- outcome{c.name, rolls, err}
		}()
	}
	rolls = map[string][]rollout{}
	var errs []error
	for range contenders {
		o := <-outcomes
		rolls[o.name] = o.rolls
		errs = append(errs, o.err)
	}
	return rolls, errors.Join(errs...)
}

func (b *bench) rollFleet(ctx context.Context, name string) (rolls []rollout, err error) {
	f, err := newFleet(ctx, b.cluster, ordersFor(name), fleetSize)
	defer func() { err = errors.Join(err, f.close()) }()
	if err != nil {
		return nil, err
	}
	for round := range rolloutRounds {
		r, err := f.roll(ctx, leaderFirst, 1, settleDown)
		if err != nil {
			return nil, err
		}
		rolls = append(rolls, r)
		b.progress("rollout: %s, %d replicas, round %d of %d: %d handovers", name, fleetSize, round+1, rolloutRounds, r.handovers)
	}
	return rolls, nil
}

func ordersFor(contender string) orders {
	return orders{Contender: contender, Lasts: defaultPace.lease, Renew: defaultPace.renew, Retry: defaultPace.retry}
}

func settleDown(ctx context.Context) error { return pause(ctx, rolloutSettle) }

func closeFleets(fleets []*fleet) error {
	var errs []error
	for _, f := range fleets {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}
