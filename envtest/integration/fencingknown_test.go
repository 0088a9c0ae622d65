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

// Package fencing takes the list of the resources of Kubernetes from client-go.
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
				t.Errorf("%s is served by %s, but package fencing refuses it: %s", resource, version, why)
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
					t.Errorf("%s of %s is not served, but package fencing accepts it", resource, version)
				}
			}
		}
	}
}

// refusal returns why a resource cannot be guarded, or "".
func refusal(resource schema.GroupResource) string {
	_, _, err := fencing.Policy(fencing.Fence{
		LeaseNamespace: "ns", LeaseName: "app", ServiceAccount: "operator", Mode: fencing.ByTerm, Resources: []schema.GroupResource{resource},
	})
	if err == nil {
		return ""
	}
	return err.Error()
}

// isByDesign reports whether a refusal of an existing resource is intended.
func isByDesign(why string) bool {
	return slices.ContainsFunc([]string{"never guarded", "asks no policy about policies", "give pods"}, func(part string) bool { return strings.Contains(why, part) })
}
