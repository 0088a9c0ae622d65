package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

const (
	operatorSize     = 3
	processGroupSize = 5
	rolloutRounds    = 5
	// rolloutSettle is the time between the start of a new replica and the stop of an
	// old replica.
	rolloutSettle = 2500 * time.Millisecond
)

// measureRollout measures rolling updates, which replace all replicas one by one. If
// the replicas are operators, it measures the time without reconciliation. It counts
// the handovers of every implementation. Each replica is a process, because the age of
// a process influences the choice of the successor.
func (b *bench) measureRollout(ctx context.Context) (figures, error) {
	operators, err := b.rollOperators(ctx, settings{Operator: true})
	if err != nil {
		return nil, err
	}
	rolls, err := sideBySide(func(i implementation) ([]rollout, error) { return b.rollProcesses(ctx, i.name) })
	if err != nil {
		return nil, err
	}
	return append(operatorFigures(operatorGroup, operators), processFigures(rolls)...), nil
}

// measureAdopted measures rolling updates of an operator that replaced ctrl.NewManager by
// manager.New and changed nothing else. Its controller has no options.
func (b *bench) measureAdopted(ctx context.Context) (figures, error) {
	operators, err := b.rollOperators(ctx, settings{Operator: true, Defaults: true})
	if err != nil {
		return nil, err
	}
	f := operatorFigures(adoptedGroup, operators)
	f[1:2].wantAtMost(20)
	return f, nil
}

// rollOperators measures rolling updates of operators. The updates do not run at the
// same time, because a starting process slows down other processes.
func (b *bench) rollOperators(ctx context.Context, s settings) (rolls map[string][]rollout, err error) {
	_, err = b.cluster.Clientset.CoreV1().ConfigMaps(namespace).Create(ctx,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings"}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return nil, err
	}
	var groups []*processGroup
	defer func() {
		for _, g := range groups {
			err = errors.Join(err, g.close())
		}
	}()
	for _, name := range []string{runtimeName, incumbentMgr} {
		s.Implementation, s.Timing = name, defaultTiming
		g, err := newProcessGroup(ctx, b.cluster, s, operatorSize)
		groups = append(groups, g)
		if err != nil {
			return nil, err
		}
	}
	rolls = map[string][]rollout{}
	for round := range rolloutRounds {
		order := rand.Perm(operatorSize)
		for _, i := range rand.Perm(len(groups)) {
			name := groups[i].settings.Implementation
			r, err := groups[i].roll(ctx, groups[i].inOrder(order), 1, settleDown)
			if err != nil {
				return nil, err
			}
			rolls[name] = append(rolls[name], r)
			b.progress("rollout: %s, round %d of %d: no reconciliation for %.1f ms in %d handovers",
				name, round+1, rolloutRounds, lab.Milliseconds(r.idle), r.handovers)
		}
	}
	return rolls, nil
}

func (b *bench) rollProcesses(ctx context.Context, name string) (rolls []rollout, err error) {
	g, err := newProcessGroup(ctx, b.cluster, settings{Implementation: name, Timing: defaultTiming}, processGroupSize)
	defer func() { err = errors.Join(err, g.close()) }()
	if err != nil {
		return nil, err
	}
	for round := range rolloutRounds {
		r, err := g.roll(ctx, leaderFirst, 1, settleDown)
		if err != nil {
			return nil, err
		}
		rolls = append(rolls, r)
		b.progress("rollout: %s, %d replicas, round %d of %d: %d handovers", name, processGroupSize, round+1, rolloutRounds, r.handovers)
	}
	return rolls, nil
}

func settleDown(ctx context.Context) error { return lab.Sleep(ctx, rolloutSettle) }
