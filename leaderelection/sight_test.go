package leaderelection

import (
	"testing"

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
