package fencing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// unknown says what is wrong with a resource of one of Kubernetes' own groups, ""
// if nothing is known to be: of the resources of others only their API server
// knows, and a policy for one that does not exist guards nothing.
func unknown(resource schema.GroupResource) string {
	own := builtIn(resource.Group)
	if len(own) == 0 || slices.Contains(own, resource.Resource) {
		return ""
	}
	why := fmt.Sprintf("the group %q has no such resource", resource.Group)
	if resource.Group == "" {
		why = "the core group has no such resource: name the group too, as in deployments.apps"
	}
	nearest := ""
	for _, name := range own {
		if strings.HasPrefix(name, resource.Resource) && (nearest == "" || len(name) < len(nearest)) {
			nearest = name
		}
	}
	if nearest != "" {
		why += fmt.Sprintf(" (is %q meant?)", nearest)
	}
	return why
}

// builtIn lists the resources of a group that client-go knows. Some of the names are
// no resources, for what it knows is kinds.
func builtIn(group string) []string {
	names := map[string]bool{}
	for _, version := range scheme.Scheme.PrioritizedVersionsForGroup(group) {
		for kind := range scheme.Scheme.KnownTypes(version) {
			if strings.HasSuffix(kind, "List") || strings.HasSuffix(kind, "Options") || strings.HasSuffix(kind, "Event") {
				continue
			}
			plural, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind))
			names[plural.Resource] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
