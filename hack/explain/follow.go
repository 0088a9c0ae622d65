package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

// requestTimeout bounds each request but the watch.
const requestTimeout = 10 * time.Second

// A follower sees the Lease, and tells.
type follower struct {
	*options
	clientset kubernetes.Interface
	out       io.Writer
	complain  func(error) // about what may pass
	seen      explain.Seen
	told      string
	details   details
}

func (o *options) explain(ctx context.Context, clientset kubernetes.Interface, out io.Writer, complain func(error)) (int, error) {
	f := &follower{options: o, clientset: clientset, out: out, complain: complain}
	version, err := f.look(ctx)
	if err != nil {
		return cannotTell, err
	}
	f.details = f.lookAround(ctx)
	if o.follow {
		return f.forever(ctx, version)
	}
	wait, cancel := context.WithTimeout(ctx, o.wait)
	defer cancel()
	answer := f.answer()
	if !answer.Certain && o.wait > 0 {
		// Without the right to watch the answer goes by the leader's clock.
		_ = f.watch(wait, version, func() bool { return f.seen.Changed() })
	}
	answer = f.answer()
	if err := f.tell(answer); err != nil {
		return cannotTell, err
	}
	if answer.Nobody() {
		return nobodyLeads, nil
	}
	return somebodyLeads, nil
}

// forever follows until ctx is done. A watch that ends is followed by a look.
func (f *follower) forever(ctx context.Context, version string) (int, error) {
	if err := f.tell(f.answer()); err != nil {
		return cannotTell, err
	}
	for {
		var telling error
		err := f.watch(ctx, version, func() bool { telling = f.tellChange(); return telling != nil })
		if telling != nil {
			return cannotTell, telling
		}
		if err := f.pause(ctx, time.Second); err != nil {
			return cannotTell, err
		}
		if ctx.Err() != nil {
			return somebodyLeads, nil
		}
		var looking error
		if version, looking = f.look(ctx); looking != nil && err == nil {
			err = looking
		}
		if err != nil && ctx.Err() == nil && !apierrors.IsForbidden(err) {
			f.complain(err)
		}
	}
}

// pause waits, and tells what time brings.
func (f *follower) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return f.tellChange()
}

// look reads the Lease, and returns from which version on it is to be watched.
func (f *follower) look(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	lease, err := f.clientset.CoordinationV1().Leases(f.namespace).Get(ctx, f.name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		f.seen = f.seen.After(nil, time.Now())
		return "", nil
	case err != nil:
		return "", err
	}
	f.seen = f.seen.After(lease, time.Now())
	return lease.ResourceVersion, nil
}

// watch takes in what happens to the Lease until done says so, ctx ends or the
// watch does.
func (f *follower) watch(ctx context.Context, version string, done func() bool) error {
	stream, err := f.clientset.CoordinationV1().Leases(f.namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + f.name, ResourceVersion: version,
	})
	if err != nil {
		return err
	}
	defer stream.Stop()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C: // a Lease lapses without an event
		case event, open := <-stream.ResultChan():
			if !open {
				return nil
			}
			if event.Type == watch.Error {
				return apierrors.FromObject(event.Object)
			}
			f.take(event)
		}
	}
	return nil
}

func (f *follower) take(event watch.Event) {
	lease, ok := event.Object.(*coordinationv1.Lease)
	switch {
	case !ok || lease.Name != f.name:
	case event.Type == watch.Deleted:
		f.seen = f.seen.After(nil, time.Now())
	default:
		f.seen = f.seen.After(lease, time.Now())
	}
}

func (f *follower) answer() explain.Answer {
	a := explain.Explain(f.seen, time.Now())
	a.Lease = f.namespace + "/" + f.name
	a.Rights, a.Fences = f.details.rights, f.details.fences
	return a
}

func (f *follower) tell(a explain.Answer) error {
	f.told = a.Summary()
	if f.json {
		return json.NewEncoder(f.out).Encode(a)
	}
	_, err := io.WriteString(f.out, a.String())
	return err
}

// tellChange tells what is new, if anything is.
func (f *follower) tellChange() error {
	a := f.answer()
	if a.Summary() == f.told {
		return nil
	}
	if f.json {
		return f.tell(a)
	}
	f.told = a.Summary()
	_, err := fmt.Fprintf(f.out, "%s  %s\n", a.At.UTC().Format("15:04:05.000"), f.told)
	return err
}
