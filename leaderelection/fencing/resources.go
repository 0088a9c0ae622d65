package fencing

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// unknownResource returns why a group of Kubernetes has no such resource, or "". A
// policy for a resource that does not exist guards nothing. Resources of other groups
// are known only to their API server, so they are not checked.
func unknownResource(resource schema.GroupResource) string {
	own := builtIn(resource.Group)
	if len(own) == 0 && !scheme.Scheme.IsGroupRegistered(resource.Group) || slices.Contains(own, resource.Resource) {
		return ""
	}
	reason := fmt.Sprintf("the group %q has no such resource", resource.Group)
	if resource.Group == "" {
		reason = "the core group has no such resource: name the group too, for example deployments.apps"
	}
	nearest := ""
	for _, name := range own {
		if strings.HasPrefix(name, resource.Resource) && (nearest == "" || len(name) < len(nearest)) {
			nearest = name
		}
	}
	if nearest != "" {
		reason += fmt.Sprintf(" (is %q meant?)", nearest)
	}
	return reason
}

// unknownToClientGo lists the resources of Kubernetes that have no kinds in client-go.
var unknownToClientGo = map[string][]string{
	"apiextensions.k8s.io":   {"customresourcedefinitions"},
	"apiregistration.k8s.io": {"apiservices"},
}

// builtIn lists the resources of a group of Kubernetes. client-go registers kinds. A
// kind is a resource if there is also a list kind with items.
func builtIn(group string) []string {
	names := slices.Clone(unknownToClientGo[group])
	for _, version := range scheme.Scheme.PrioritizedVersionsForGroup(group) {
		kinds := scheme.Scheme.KnownTypes(version)
		for kind, goType := range kinds {
			list, found := kinds[kind+"List"]
			if !found || isRemoved(goType) {
				continue
			}
			if _, found = list.FieldByName("Items"); found {
				plural, _ := meta.UnsafeGuessKindToResource(version.WithKind(kind))
				names = append(names, plural.Resource)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// isRemoved reports whether a kind was removed before Kubernetes 1.30, the first
// version with admission policies.
func isRemoved(kind reflect.Type) bool {
	removable, ok := reflect.New(kind).Interface().(interface{ APILifecycleRemoved() (major, minor int) })
	if !ok {
		return false
	}
	major, minor := removable.APILifecycleRemoved()
	return major == 1 && minor < 30
}
