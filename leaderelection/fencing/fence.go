package fencing

import (
	"errors"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

// A Mode says how a writer is told from a stale one. Both may be used together:
// ByPod | ByTerm.
type Mode uint8

const (
	// ByPod compares the name of the pod that the writer's token is bound to with
	// the holder that the Lease names: the holder must be the pod's name, or begin
	// with it and "_". The program need not be changed.
	ByPod Mode = 1 << iota

	// ByTerm compares the token of the term that is stamped on the written object
	// with the one that is on the stored object: a lower one is refused. The program
	// writes through a StampTransport.
	ByTerm
)

// A Fence says which writes are let through only from the leader. Policy makes an
// admission policy of it.
type Fence struct {
	// LeaseNamespace and LeaseName name the Lease. Required.
	LeaseNamespace string
	LeaseName      string

	// ServiceAccount is the one whose writes are governed; nobody else's are. All
	// replicas run under it, and nothing else should. Required.
	ServiceAccount string

	// ServiceAccountNamespace is where that service account and its pods are.
	// Default: LeaseNamespace.
	ServiceAccountNamespace string

	// Resources are guarded, with their subresources; everything else stays open.
	// Give all that only the leader writes. Required.
	Resources []schema.GroupResource

	// Namespaces limits the Fence to objects in these namespaces. Objects that are
	// in no namespace are guarded all the same, but Namespaces cannot be: the API
	// server takes each for an object in itself. Give those a Fence of their own.
	// Default: all namespaces.
	Namespaces []string

	// Mode is how stale writers are told. Default: ByPod.
	Mode Mode

	// OpenWithoutLease lets everybody write while the Lease does not exist. It does
	// not matter to ByTerm alone, which does not look at the Lease, and is refused
	// with ByPod | ByTerm, for it would open the comparison of terms too: make two
	// Fences with a Name each, one of them ByTerm.
	//
	// By default nobody may: the API server looks for the Lease before it looks at
	// who asks, so that without it the guarded resources are closed to all users,
	// not only to the service account. Apply the Lease before the policy, and do not
	// delete it with the policy (see Lease). Limit Namespaces where that is too much to
	// risk. A Fence ByPod around pods or serviceaccounts wants OpenWithoutLease if the
	// candidates' own pods are in its Namespaces, for otherwise a deleted Lease keeps
	// them from being started again; around those of all namespaces it is refused
	// without.
	OpenWithoutLease bool

	// ReportOnly refuses nothing: what would be refused is let through with a
	// warning to the writer and a note in the audit log. For trying a Fence out. While
	// the Lease does not exist it says nothing, though a Fence in force would then
	// refuse everything: see to it that the Lease is there.
	ReportOnly bool

	// Name tells several Fences apart; the policy's name begins with
	// "incumbent-fencing." and ends with it. Default: the Lease's namespace and name,
	// with a dot between them.
	Name string
}

// policyPrefix begins the names of all policies: by it a refusal is known.
const policyPrefix = "incumbent-fencing."

func (f Fence) withDefaults() Fence {
	if f.ServiceAccountNamespace == "" {
		f.ServiceAccountNamespace = f.LeaseNamespace
	}
	if f.Mode == 0 {
		f.Mode = ByPod
	}
	if f.Name == "" {
		f.Name = strings.Trim(f.LeaseNamespace+"."+f.LeaseName, ".") // an empty name is reported as such
	}
	return f
}

func (f Fence) lease() string      { return f.LeaseNamespace + "/" + f.LeaseName }
func (f Fence) policyName() string { return policyPrefix + f.Name }
func (f Fence) has(mode Mode) bool { return f.Mode&mode != 0 }

// user is the name under which the API server knows the service account.
func (f Fence) user() string {
	return "system:serviceaccount:" + f.ServiceAccountNamespace + ":" + f.ServiceAccount
}

// validate names everything that is wrong with a Fence whose defaults are filled
// in.
func (f Fence) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := []struct {
		field, value, remedy string
		check                func(string) []string
	}{
		{"LeaseNamespace", f.LeaseNamespace, "give the namespace of the Lease", utilvalidation.IsDNS1123Label},
		{"LeaseName", f.LeaseName, "give the name of the Lease that the replicas campaign for", subdomain},
		{"ServiceAccount", f.ServiceAccount, "give the service account that the replicas run under", subdomain},
	}
	for _, n := range names {
		if n.value == "" {
			refuse("%s is empty: %s", n.field, n.remedy)
			continue
		}
		for _, msg := range n.check(n.value) {
			refuse("%s (%q) is no such name: %s", n.field, n.value, msg)
		}
	}
	f.validateRest(refuse)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("fencing: the Fence is refused: %w", errors.Join(errs...))
}

func subdomain(name string) []string { return validation.NameIsDNSSubdomain(name, false) }

func (f Fence) validateRest(refuse func(string, ...any)) {
	if f.ServiceAccountNamespace != "" {
		for _, msg := range utilvalidation.IsDNS1123Label(f.ServiceAccountNamespace) {
			refuse("ServiceAccountNamespace (%q) is no such name: %s", f.ServiceAccountNamespace, msg)
		}
	}
	for _, namespace := range f.Namespaces {
		for _, msg := range utilvalidation.IsDNS1123Label(namespace) {
			refuse("Namespaces has %q, which is no such name: %s", namespace, msg)
		}
	}
	if f.Mode&^(ByPod|ByTerm) != 0 {
		refuse("Mode (%d) is unknown: give ByPod (%d), ByTerm (%d), or both", f.Mode, ByPod, ByTerm)
	}
	for _, msg := range subdomain(f.policyName()) {
		refuse("Name (%q) makes %q, which is no name for a policy: %s", f.Name, f.policyName(), msg)
	}
	if len(f.Resources) == 0 {
		refuse("Resources is empty: give what only the leader writes")
	}
	for _, resource := range f.Resources {
		if why := refused(resource); why != "" {
			refuse("Resources has %q: %s", resource.String(), why)
		}
	}
	f.validateTogether(refuse)
}

// validateTogether names the fields that do not go together.
func (f Fence) validateTogether(refuse func(string, ...any)) {
	if f.OpenWithoutLease && f.has(ByPod) && f.has(ByTerm) {
		refuse("OpenWithoutLease with Mode ByPod | ByTerm: without the Lease terms are not compared either, so that an earlier term's writes would pass: " +
			"make two Fences with a Name each, one ByPod with OpenWithoutLease and one ByTerm, which does not look at the Lease")
	}
	closes := f.has(ByPod) && len(f.Namespaces) == 0 && !f.OpenWithoutLease && !f.ReportOnly
	for _, resource := range f.Resources {
		if closes && (resource == pods || resource == serviceAccounts) {
			refuse("Resources has %q without Namespaces or OpenWithoutLease: if the Lease is deleted no pod of the cluster can be started, and so no candidate that would make a Lease: "+
				"give Namespaces in which no candidate runs, or OpenWithoutLease", resource.String())
		}
		if len(f.Namespaces) > 0 && resource.Resource == "namespaces" { // whatever its group is
			refuse("Resources has %q, and Namespaces is %q: the API server takes a Namespace for an object in itself, so that all others would not be guarded: "+
				"give it a Fence with a Name of its own and without Namespaces", resource.String(), f.Namespaces)
		}
	}
}

// Without these no pod can be started: it is created, and its kubelet fetches a token
// of its service account.
var (
	pods            = schema.GroupResource{Resource: "pods"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
)

// refused says why a resource cannot be guarded, "" if it can.
func refused(resource schema.GroupResource) string {
	switch {
	case resource.Resource == "":
		return "it names no resource"
	case strings.Contains(resource.Resource, "*") || strings.Contains(resource.Group, "*"):
		return "name each resource: without the Lease a Fence around everything would close the cluster"
	case strings.Contains(resource.Resource, "/"):
		return "give the resource alone: its subresources are guarded with it"
	case resource == schema.GroupResource{Resource: "bindings"}:
		return "the bindings of pods are guarded with them: give pods"
	case resource.Group == admissionv1.GroupName && strings.Contains(resource.Resource, "admissionpolic"):
		return "the API server asks no policy about policies and their bindings: limit by RBAC who may write them"
	case isExempt(resource):
		return "it is never guarded: Leases, or nobody could be elected; Events, which must tell of what went wrong; " +
			"reviews, which are questions in the form of a write"
	}
	if msgs := utilvalidation.IsDNS1123Label(resource.Resource); len(msgs) > 0 {
		return "resources are named in lower case and in the plural, as in URLs: " + strings.Join(msgs, ", ")
	}
	return unknown(resource)
}

// isExempt reports whether writes of a resource are never guarded or stamped.
func isExempt(resource schema.GroupResource) bool {
	return guard.Exempt(resource.Group, resource.Resource)
}
