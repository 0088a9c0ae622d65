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

// A Mode selects how a stale writer is recognised. The modes may be combined:
// ByPod | ByTerm.
type Mode uint8

const (
	// ByPod compares the pod of the writer's token with the holder of the Lease. The
	// holder must be the pod's name, or begin with that name and "_". The program
	// need not be changed.
	ByPod Mode = 1 << iota

	// ByTerm compares the fencing token on the written object with the token on the
	// stored object. A lower token is refused. The program writes through a
	// StampTransport.
	ByTerm
)

// A Fence describes the writes that only the leader may send. Policy returns the
// admission policy that enforces it.
type Fence struct {
	// LeaseNamespace and LeaseName name the Lease. Required.
	LeaseNamespace string
	LeaseName      string

	// ServiceAccount is the service account of all replicas. Only its writes are
	// fenced. No other program should use it. Required.
	ServiceAccount string

	// ServiceAccountNamespace is the namespace of the service account and its pods.
	// Default: LeaseNamespace.
	ServiceAccountNamespace string

	// Resources are the guarded resources. Their subresources are guarded too. List
	// every resource that only the leader writes. Required.
	Resources []schema.GroupResource

	// Namespaces limits the Fence to objects in these namespaces. Objects without a
	// namespace are guarded too. The resource "namespaces" must not be combined with
	// this field, because the API server treats each Namespace as an object in itself:
	// give it a Fence of its own. Default: all namespaces.
	Namespaces []string

	// Mode selects how a stale writer is recognised. Default: ByPod.
	Mode Mode

	// OpenWithoutLease permits all writes while the Lease does not exist. It has no
	// effect with ByTerm alone, which does not read the Lease. It is invalid with
	// ByPod | ByTerm, because terms would not be compared either: use two Fences, each
	// with a Name, one of them ByTerm.
	//
	// By default nobody can write the guarded resources while the Lease does not
	// exist, because the API server looks for the Lease before it evaluates who the
	// user is. Apply the Lease before the policy, and do not delete it with the policy
	// (see Lease). Limit Namespaces to reduce the risk. A Fence ByPod of pods or
	// serviceaccounts needs OpenWithoutLease if its Namespaces include the candidates'
	// own pods. Otherwise these cannot be started again after the Lease was deleted.
	// Without Namespaces such a Fence is invalid.
	OpenWithoutLease bool

	// ReportOnly refuses nothing. A stale write passes, with a warning to the writer
	// and an entry in the audit log. Use it to try a Fence out. While the Lease does
	// not exist it reports nothing, although an enforced Fence would refuse every
	// write: make sure that the Lease exists.
	ReportOnly bool

	// Name distinguishes several Fences. The policy is named
	// "incumbent-fencing.<Name>". Default: "<LeaseNamespace>.<LeaseName>".
	Name string
}

// policyPrefix begins the names of all policies. IsStale recognises refusals by it.
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

// user returns the user name of the service account.
func (f Fence) user() string {
	return "system:serviceaccount:" + f.ServiceAccountNamespace + ":" + f.ServiceAccount
}

// validate returns one error that names every problem of a Fence. The defaults must be
// set.
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
			refuse("%s (%q) is invalid: %s", n.field, n.value, msg)
		}
	}
	f.validateRest(refuse)
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("fencing: invalid Fence: %w", errors.Join(errs...))
}

func subdomain(name string) []string { return validation.NameIsDNSSubdomain(name, false) }

func (f Fence) validateRest(refuse func(string, ...any)) {
	if f.ServiceAccountNamespace != "" {
		for _, msg := range utilvalidation.IsDNS1123Label(f.ServiceAccountNamespace) {
			refuse("ServiceAccountNamespace (%q) is invalid: %s", f.ServiceAccountNamespace, msg)
		}
	}
	for _, namespace := range f.Namespaces {
		for _, msg := range utilvalidation.IsDNS1123Label(namespace) {
			refuse("Namespaces has %q, which is invalid: %s", namespace, msg)
		}
	}
	if f.Mode&^(ByPod|ByTerm) != 0 {
		refuse("Mode (%d) is unknown: give ByPod (%d), ByTerm (%d), or both", f.Mode, ByPod, ByTerm)
	}
	for _, msg := range subdomain(f.policyName()) {
		refuse("Name (%q) results in the invalid policy name %q: %s", f.Name, f.policyName(), msg)
	}
	if len(f.Resources) == 0 {
		refuse("Resources is empty: list the resources that only the leader writes")
	}
	for _, resource := range f.Resources {
		if reason := unguardable(resource); reason != "" {
			refuse("Resources has %q: %s", resource.String(), reason)
		}
	}
	f.validateTogether(refuse)
}

// validateTogether reports fields that contradict each other.
func (f Fence) validateTogether(refuse func(string, ...any)) {
	if f.OpenWithoutLease && f.has(ByPod) && f.has(ByTerm) {
		refuse("OpenWithoutLease with Mode ByPod | ByTerm: while the Lease does not exist, terms are not compared either, and writes of an earlier term pass: " +
			"use two Fences with a Name each, one ByPod with OpenWithoutLease and one ByTerm, which does not read the Lease")
	}
	closes := f.has(ByPod) && len(f.Namespaces) == 0 && !f.OpenWithoutLease && !f.ReportOnly
	for _, resource := range f.Resources {
		if closes && (resource == pods || resource == serviceAccounts) {
			refuse("Resources has %q without Namespaces or OpenWithoutLease: after the Lease was deleted, no pod of the cluster can be started, so no candidate creates the Lease again: "+
				"set Namespaces in which no candidate runs, or OpenWithoutLease", resource.String())
		}
		if len(f.Namespaces) > 0 && resource.Resource == "namespaces" { // in any group
			refuse("Resources has %q, and Namespaces is %q: the API server treats a Namespace as an object in itself, so all others would not be guarded: "+
				"use another Fence with a Name and without Namespaces", resource.String(), f.Namespaces)
		}
	}
}

// Starting a pod writes these two resources: the pod is created, and the kubelet
// creates a token of its service account.
var (
	pods            = schema.GroupResource{Resource: "pods"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
)

// unguardable returns why a resource cannot be guarded, or "".
func unguardable(resource schema.GroupResource) string {
	switch {
	case resource.Resource == "":
		return "it has no resource name"
	case strings.Contains(resource.Resource, "*") || strings.Contains(resource.Group, "*"):
		return "wildcards are not allowed, list each resource: while the Lease does not exist, a Fence of all resources would block the cluster"
	case strings.Contains(resource.Resource, "/"):
		return "subresources are guarded with their resource, list the resource"
	case resource == schema.GroupResource{Resource: "bindings"}:
		return "bindings are guarded with pods, list pods"
	case resource.Group == admissionv1.GroupName && strings.Contains(resource.Resource, "admissionpolic"):
		return "the API server evaluates no policy for policies and their bindings, limit their writers by RBAC"
	case isExempt(resource):
		return "it is never guarded: without Leases nobody could be elected, Events report what went wrong, " +
			"and reviews change nothing"
	}
	if msgs := utilvalidation.IsDNS1123Label(resource.Resource); len(msgs) > 0 {
		return "the resource name must be lower-case and plural, as in URLs: " + strings.Join(msgs, ", ")
	}
	return unknownResource(resource)
}

// isExempt reports whether writes of a resource are never guarded or stamped.
func isExempt(resource schema.GroupResource) bool {
	return guard.Exempt(resource.Group, resource.Resource)
}
