package integration_test

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// Which of Kubernetes' own resources there are, package fencing takes from client-go.
func TestFence_KnowsTheResourcesThatAreServed(t *testing.T) {
	t.Parallel()
	discovery := shared.get(t).Admin().Clientset().Discovery()
	_, lists, err := discovery.ServerGroupsAndResources()
	must(t, err)
	served, versions := map[schema.GroupResource]bool{}, map[schema.GroupVersion]bool{}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		must(t, err)
		versions[version] = true
		for _, r := range list.APIResources {
			resource := version.WithResource(r.Name).GroupResource()
			served[resource] = true
			writable := slices.ContainsFunc(r.Verbs, func(verb string) bool { return verb == "create" || verb == "update" })
			if why := refusal(resource); writable && !strings.Contains(r.Name, "/") && why != "" && !isByDesign(why) {
				t.Errorf("%s is served by %s, and refused: %s", resource, version, why)
			}
		}
	}

	server, err := discovery.ServerVersion()
	must(t, err)
	if server.GitVersion != "v"+envtest.DefaultVersion {
		t.Skipf("%s need not serve what client-go knows", server.GitVersion)
	}
	for version := range versions {
		for kind := range scheme.Scheme.KnownTypes(version) {
			plural, singular := meta.UnsafeGuessKindToResource(version.WithKind(kind))
			for _, resource := range []schema.GroupResource{plural.GroupResource(), singular.GroupResource()} {
				if refusal(resource) == "" && !served[resource] {
					t.Errorf("%s of %s is not served, and accepted", resource, version)
				}
			}
		}
	}
}

// refusal says why a resource cannot be guarded, "" if it can.
func refusal(resource schema.GroupResource) string {
	_, _, err := fencing.Policy(fencing.Fence{
		LeaseNamespace: "ns", LeaseName: "app", ServiceAccount: "operator", Mode: fencing.ByTerm, Resources: []schema.GroupResource{resource},
	})
	if err == nil {
		return ""
	}
	return err.Error()
}

// isByDesign knows the reasons for which resources that exist are refused.
func isByDesign(why string) bool {
	return slices.ContainsFunc([]string{"never guarded", "asks no policy about policies", "give pods"}, func(part string) bool { return strings.Contains(why, part) })
}
