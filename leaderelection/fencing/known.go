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

// unknown says what is wrong with a resource of one of Kubernetes' own groups, ""
// if nothing is known to be: of the resources of others only their API server
// knows, and a policy for one that does not exist guards nothing.
func unknown(resource schema.GroupResource) string {
	own := builtIn(resource.Group)
	if len(own) == 0 && !scheme.Scheme.IsGroupRegistered(resource.Group) || slices.Contains(own, resource.Resource) {
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

// unknownToClientGo are the resources of Kubernetes' own groups of which client-go
// has no kinds.
var unknownToClientGo = map[string][]string{
	"apiextensions.k8s.io":   {"customresourcedefinitions"},
	"apiregistration.k8s.io": {"apiservices"},
}

// builtIn lists the resources of a group. What client-go knows is kinds: those are
// resources of which there are lists of items.
func builtIn(group string) []string {
	names := slices.Clone(unknownToClientGo[group])
	for _, version := range scheme.Scheme.PrioritizedVersionsForGroup(group) {
		kinds := scheme.Scheme.KnownTypes(version)
		for kind, goType := range kinds {
			list, found := kinds[kind+"List"]
			if !found || isGone(goType) {
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

// isGone reports whether a kind was removed before there were admission policies.
func isGone(kind reflect.Type) bool {
	removable, ok := reflect.New(kind).Interface().(interface{ APILifecycleRemoved() (major, minor int) })
	if !ok {
		return false
	}
	major, minor := removable.APILifecycleRemoved()
	return major == 1 && minor < 30
}
