package leaderelection

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
)

// Not every server knows selectors.
func TestElector_EventsOfOtherLeasesSayNothing(t *testing.T) {
	c := valid()
	e, err := New(&c, fake.NewClientset(), Callbacks{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []struct{ namespace, name, want string }{
		{c.LeaseNamespace, "other", ""},
		{"other", c.LeaseName, ""},
		{c.LeaseNamespace, c.LeaseName, "leader"},
	} {
		lease := record("a", 50, "leader", 10)
		lease.Namespace, lease.Name = key.namespace, key.name
		e.sightEvent(watch.Event{Type: watch.Added, Object: lease})
		if got := e.GetLeader(); got != key.want {
			t.Errorf("after an event of %s/%s the leader is %q, want %q", key.namespace, key.name, got, key.want)
		}
	}
}

// In a restored history late writes of a process took it for its own twin.
func TestElector_OwnLateWritesAreNoTwin(t *testing.T) {
	for _, ours := range []bool{true, false} {
		c := valid()
		e, err := New(&c, fake.NewClientset(), Callbacks{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range twinLimit {
			renewed := at(float64(i)).UnixMicro()
			if ours {
				renewed = e.nextWriteLocked(renewing, 0).renewed
				e.writes.open = nil // given up long ago
			}
			lease := record("a", 50+i, c.Identity, 0)
			lease.Namespace, lease.Name = c.LeaseNamespace, c.LeaseName
			lease.Spec.RenewTime.Time = time.UnixMicro(renewed)
			e.sightEvent(watch.Event{Type: watch.Modified, Object: lease})
		}
		if twin := e.observer.twins >= twinLimit; twin == ours {
			t.Errorf("records of its own: %v, and it has a twin: %v", ours, twin)
		}
	}
}
