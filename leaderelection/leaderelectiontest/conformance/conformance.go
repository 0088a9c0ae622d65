// Package conformance holds a Lease API to what a kube-apiserver does. The
// same tests run against the in-memory server of leaderelectiontest and
// against a real one: that is how the former is known to behave as the latter.
package conformance

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// Target is the Lease API that is tested.
type Target struct {
	// Clientset talks to it, with the right to do everything.
	Clientset kubernetes.Interface
	// Namespace exists. Each test needs one without Leases, or a namespace in
	// which nobody else writes.
	Namespace string
	// MissingNamespace does not exist.
	MissingNamespace string
}

// Test is one fact about the API.
type Test struct {
	// Name says it, fit for the name of a subtest.
	Name string
	// Run fails the test if it is not so.
	Run func(testing.TB, Target)
}

// Tests returns the suite. Run each as a subtest of its own; it does not
// matter whether that is in a synctest bubble.
func Tests() []Test {
	return append(append(writeTests(), patchTests()...), watchTests()...)
}

// patience is how long a test waits for an answer or an event.
const patience = 30 * time.Second

// fixture is a test's view of its target.
type fixture struct {
	testing.TB
	Target
	ctx    context.Context // as long as the test
	leases coordinationclient.LeaseInterface
	name   string
}

// test makes a Test whose Lease is called name.
func test(name string, run func(*fixture)) Test {
	return Test{Name: name, Run: func(t testing.TB, target Target) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		run(&fixture{
			TB: t, Target: target, ctx: ctx, name: "conformance",
			leases: target.Clientset.CoordinationV1().Leases(target.Namespace),
		})
	}}
}

// lease is one that a leader could have written.
func (f *fixture) lease(holder string) *coordinationv1.Lease {
	seconds, transitions := int32(15), int32(0)
	now := metav1.NewMicroTime(time.Date(2026, 11, 23, 1, 2, 3, 456789000, time.UTC))
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: f.name, Namespace: f.Namespace},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: &seconds, LeaseTransitions: &transitions,
			AcquireTime: &now, RenewTime: &now,
		},
	}
}

func (f *fixture) create(holder string) *coordinationv1.Lease {
	f.Helper()
	_ = f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{}) // of the test before
	lease, err := f.leases.Create(f.ctx, f.lease(holder), metav1.CreateOptions{})
	f.must(err)
	return lease
}

func (f *fixture) update(lease *coordinationv1.Lease) *coordinationv1.Lease {
	f.Helper()
	lease, err := f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.must(err)
	return lease
}

func (f *fixture) hold(lease *coordinationv1.Lease, holder string) *coordinationv1.Lease {
	f.Helper()
	lease = lease.DeepCopy()
	lease.Spec.HolderIdentity = &holder
	return f.update(lease)
}

func (f *fixture) delete() {
	f.Helper()
	f.must(f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{}))
}

func (f *fixture) get() *coordinationv1.Lease {
	f.Helper()
	lease, err := f.leases.Get(f.ctx, f.name, metav1.GetOptions{})
	f.must(err)
	return lease
}

func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// refused fails the test unless err is of the kind that is tells.
func (f *fixture) refused(is func(error) bool, err error) {
	f.Helper()
	if !is(err) {
		f.Fatalf("got error %v (%s), which is of another kind", err, apierrors.ReasonForError(err))
	}
}

func (f *fixture) holder(lease *coordinationv1.Lease, want string) {
	f.Helper()
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity != want {
		f.Fatalf("the Lease is held by %v, want %q", lease.Spec.HolderIdentity, want)
	}
}

func (f *fixture) newer(than, lease *coordinationv1.Lease) {
	f.Helper()
	if revision(f, lease) <= revision(f, than) {
		f.Fatalf("resourceVersion %s is not newer than %s", lease.ResourceVersion, than.ResourceVersion)
	}
}

func (f *fixture) watch(options metav1.ListOptions) *stream {
	f.Helper()
	if options.FieldSelector == "" {
		options.FieldSelector = "metadata.name=" + f.name
	}
	w, err := f.leases.Watch(f.ctx, options)
	f.must(err)
	return &stream{f, w}
}

// stream is a watch whose events are awaited one by one.
type stream struct {
	f *fixture
	watch.Interface
}

func (s *stream) next() watch.Event {
	s.f.Helper()
	select {
	case e, ok := <-s.ResultChan():
		if !ok {
			s.f.Fatal("the watch has ended")
		}
		return e
	case <-time.After(patience):
		s.f.Fatal("no event")
	}
	panic("unreachable")
}

// lease awaits an event of that type, with a Lease. A server may tell at any time
// how far it has come, by a bookmark without annotations: that is passed over.
func (s *stream) lease(kind watch.EventType) *coordinationv1.Lease {
	s.f.Helper()
	e := s.next()
	for e.Type == watch.Bookmark && isPlain(e.Object) {
		e = s.next()
	}
	lease, ok := e.Object.(*coordinationv1.Lease)
	if e.Type != kind || !ok {
		s.f.Fatalf("got %s of %#v, want %s of a Lease", e.Type, e.Object, kind)
	}
	return lease
}

func isPlain(object runtime.Object) bool {
	lease, ok := object.(*coordinationv1.Lease)
	return ok && len(lease.Annotations) == 0
}
