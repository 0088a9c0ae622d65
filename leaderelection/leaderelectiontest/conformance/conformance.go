// Package conformance tests that a Lease API behaves like the Lease API of a
// kube-apiserver. The same tests run against the in-memory server of
// leaderelectiontest and against a real API server.
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

// Target is the Lease API under test.
type Target struct {
	// Clientset is a client with all rights.
	Clientset kubernetes.Interface
	// Namespace is an existing namespace. No other client may write Leases in this
	// namespace during the test.
	Namespace string
	// MissingNamespace is the name of a namespace that does not exist.
	MissingNamespace string
}

// Test is a test of one property of the Lease API.
type Test struct {
	// Name describes the property. It can be used as the name of a subtest.
	Name string
	// Run runs the test. It reports a test failure if the Target does not have
	// the property.
	Run func(testing.TB, Target)
}

// Tests returns all tests. Run each test as a subtest. The tests work inside
// and outside of a synctest bubble.
func Tests() []Test {
	return append(append(writeTests(), patchTests()...), watchTests()...)
}

// timeout is how long a test waits for a reply or an event.
const timeout = 30 * time.Second

// fixture is what one test needs: the Target and the name of a Lease.
type fixture struct {
	testing.TB
	Target
	ctx    context.Context // ends when the test ends
	leases coordinationclient.LeaseInterface
	name   string
}

// test returns a Test that calls run with a new fixture.
func test(name string, run func(*fixture)) Test {
	return Test{Name: name, Run: func(t testing.TB, target Target) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*timeout)
		defer cancel()
		run(&fixture{
			TB: t, Target: target, ctx: ctx, name: "conformance",
			leases: target.Clientset.CoordinationV1().Leases(target.Namespace),
		})
	}}
}

// lease returns a Lease with the fields that a leader writes.
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
	_ = f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{}) // an earlier test may have created this Lease
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

// refused fails the test unless expected returns true for err. For
// example, the parameter expected is apierrors.IsConflict.
func (f *fixture) refused(expected func(error) bool, err error) {
	f.Helper()
	if !expected(err) {
		f.Fatalf("got the error %v (%s), want an error of another kind", err, apierrors.ReasonForError(err))
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

// stream is an open watch.
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
	case <-time.After(timeout):
		s.f.Fatal("no event")
	}
	panic("unreachable")
}

// lease waits for the next event and returns the Lease in the event. If the
// event is not of the expected kind, the test fails. lease skips
// bookmarks without annotations, because a server may send such bookmarks at
// any time.
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
