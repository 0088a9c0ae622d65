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

// unknownResource returns an error text if resource does not exist in its group, and
// the group is built into Kubernetes. Otherwise it returns "". A policy for a resource
// that does not exist would guard nothing. Resources of other groups, such as custom
// resources, are not checked, because client-go has no list of them.
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

// unknownToClientGo lists, by group, the resources of Kubernetes whose kinds are not in
// client-go's scheme.
var unknownToClientGo = map[string][]string{
	"apiextensions.k8s.io":   {"customresourcedefinitions"},
	"apiregistration.k8s.io": {"apiservices"},
}

// builtIn returns the resources of a built-in API group of Kubernetes. For any other
// group it returns no resources. client-go's scheme contains kinds, not resources, so
// builtIn derives the resources from the kinds. A kind has a resource if the scheme
// also contains the kind of its list, such as PodList for Pod.
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

// isRemoved reports whether Kubernetes removed a kind before version 1.30. Earlier
// versions do not serve admission policies in v1.
func isRemoved(kind reflect.Type) bool {
	removable, ok := reflect.New(kind).Interface().(interface{ APILifecycleRemoved() (major, minor int) })
	if !ok {
		return false
	}
	major, minor := removable.APILifecycleRemoved()
	return major == 1 && minor < 30
}
