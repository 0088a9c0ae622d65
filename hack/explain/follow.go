package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

// A teller tells what is heard of the Lease.
type teller struct {
	*options
	out      io.Writer
	complain func(error) // about what may pass
	around   *surroundings
	told     *explain.Answer // the last one; nil at first
	failed   error           // nobody listens any more
}

func (o *options) explain(ctx context.Context, clientset kubernetes.Interface, out io.Writer, complain func(error)) (int, error) {
	t := &teller{options: o, out: out, complain: complain,
		around: &surroundings{options: o, clientset: clientset, known: make(chan struct{})}}
	ctx, cancel := context.WithCancel(ctx)
	looked := make(chan struct{})
	defer func() { cancel(); <-looked }()
	go func() { defer close(looked); t.around.keep(ctx) }()
	follower := explain.Follower{Leases: clientset.CoordinationV1().Leases(o.namespace), Name: o.name}
	if o.follow {
		return t.always(ctx, follower)
	}
	return t.once(ctx, follower)
}

// once tells one answer, as certain as can be had soon.
func (t *teller) once(ctx context.Context, follower explain.Follower) (int, error) {
	waiting, enough := context.WithCancel(ctx)
	defer enough()
	var answer *explain.Answer
	follower.Hear = func(seen explain.Seen) bool {
		if answer == nil {
			time.AfterFunc(t.wait, enough)
		}
		answer = new(t.answer(seen))
		return !answer.Certain && t.wait > 0
	}
	// Without the right to watch it is looked at, and at worst the answer goes by the
	// leader's clock.
	if err := follower.Run(waiting); err != nil {
		return cannotTell, err
	}
	if answer == nil {
		return cannotTell, context.Cause(ctx)
	}
	t.around.await(ctx)
	t.around.describe(answer)
	if err := t.tell(answer); err != nil {
		return cannotTell, err
	}
	return codeOf(answer), nil
}

// codeOf is the exit code for an answer. What is not known is not claimed.
func codeOf(a *explain.Answer) int {
	switch {
	case a.Lost || a.State == explain.Held || a.State == explain.Expired && !a.Certain:
		return cannotTell
	case a.Nobody():
		return nobodyLeads
	default:
		return somebodyLeads
	}
}

// grace is how long the first answer of many waits for what stands around the Lease,
// which is hardly ever longer in coming. Later it is told as news.
const grace = time.Second

// always tells each change until ctx is done. The code says nothing of the Lease: it
// was interrupted, as it was meant to be.
func (t *teller) always(ctx context.Context, follower explain.Follower) (int, error) {
	waiting, enough := context.WithTimeout(ctx, grace)
	t.around.await(waiting)
	if enough(); ctx.Err() != nil {
		return cannotTell, context.Cause(ctx)
	}
	follower.Hear = func(seen explain.Seen) bool {
		answer := t.answer(seen)
		t.around.describe(&answer)
		t.failed = t.tellChange(&answer)
		return t.failed == nil
	}
	follower.Trouble = func(err error) {
		if err == nil {
			err = errors.New("the Lease is read and watched again")
		}
		t.complain(err)
	}
	if err := errors.Join(follower.Run(ctx), t.failed); err != nil {
		return cannotTell, err
	}
	return somebodyLeads, nil
}

func (t *teller) answer(seen explain.Seen) explain.Answer {
	a := explain.Explain(seen, time.Now())
	a.Lease = t.namespace + "/" + t.name
	return a
}

func (t *teller) tell(a *explain.Answer) error {
	if t.json {
		return json.NewEncoder(t.out).Encode(a)
	}
	_, err := io.WriteString(t.out, a.String())
	return err
}

// tellChange tells what is new, if anything is: first everything.
func (t *teller) tellChange(a *explain.Answer) error {
	before := t.told
	if before != nil && a.Same(*before) {
		return nil
	}
	t.told = a
	if t.json || before == nil {
		return t.tell(a)
	}
	_, err := io.WriteString(t.out, a.Update(*before))
	return err
}
