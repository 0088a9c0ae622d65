package manager

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
)

func TestUses_ContainTheNamespaceOfThePodForEvents(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "pods", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	m := &electedManager{config: leaderelection.Config{LeaseNamespace: "leases", LeaseName: "lease"}}
	router, err := routing.New(routing.Label{Key: "example.com/leader", Value: "yes", PodNamespace: "others", PodName: "pod-1"}, fake.NewClientset(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := rights.Uses{LeaseNamespace: "leases", LeaseName: "lease", Events: true}
	uses := func() rights.Uses { return m.uses(func(name string) string { return env[name] }) }
	for _, tc := range []struct {
		name      string
		change    func()
		route     bool
		namespace string
	}{
		{"on the Pod", func() {}, false, "pods"},
		{"on the Lease alone", func() { delete(env, "POD_UID") }, false, ""},
		{"and routing", func() { m.route = &route{Router: router} }, true, "others"},
	} {
		tc.change()
		want.Route, want.PodNamespace, want.PodEvents = tc.route, tc.namespace, env["POD_UID"] != ""
		want.ProofOfDeath = want.PodEvents
		if diff := cmp.Diff(want, uses()); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}
