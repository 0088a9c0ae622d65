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

// A Mode selects how a Fence recognises a stale writer, that is a writer that has lost
// the Lease. The modes may be combined: ByPod | ByTerm.
type Mode uint8

const (
	// ByPod compares the pod of the writer's token with the holder of the Lease. The
	// holder must be the pod's name, or begin with that name and "_". The code of the
	// program need not change.
	ByPod Mode = 1 << iota

	// ByTerm compares the fencing token on the written object with the token on the stored
	// object. A write with a lower token is refused. The program must write through a
	// StampTransport.
	ByTerm
)

// A Fence describes the writes that only the leader may send. Policy returns the
// admission policy that enforces a Fence.
type Fence struct {
	// LeaseNamespace and LeaseName name the Lease. Required.
	LeaseNamespace string
	LeaseName      string

	// ServiceAccount is the service account of all replicas. The Fence checks only the
	// writes of this account. No other program should use the account. Required.
	ServiceAccount string

	// ServiceAccountNamespace is the namespace of the service account and of the
	// replicas' pods. Default: LeaseNamespace.
	ServiceAccountNamespace string

	// Resources are the guarded resources. Their subresources are also guarded. List every
	// resource that only the leader writes. Required.
	Resources []schema.GroupResource

	// Namespaces limits the Fence to objects in these namespaces, and to objects without a
	// namespace. Default: all namespaces.
	//
	// Do not combine this field with the resource "namespaces". The API server treats each
	// Namespace as an object in the namespace of the same name, so the Fence would not
	// guard any other Namespace. Use another Fence without this field for the resource
	// "namespaces".
	Namespaces []string

	// Mode selects how a stale writer is recognised. Default: ByPod.
	Mode Mode

	// OpenWithoutLease permits all writes while the Lease does not exist. It has no effect
	// with ByTerm alone, because that mode does not read the Lease. It is invalid with
	// ByPod | ByTerm, because it would also permit writes with too low a token. Use two
	// Fences instead, each with its own Name and one mode.
	//
	// By default, no user can write the guarded resources while the Lease does not
	// exist. The API server looks up the Lease before it evaluates the policy, and only
	// the policy compares the user. Apply the Lease before the policy, and do not
	// delete the Lease with the policy (see func Lease). To reduce the risk, set
	// Namespaces.
	//
	// A Fence with the mode ByPod needs OpenWithoutLease if it guards pods or
	// serviceaccounts in a namespace in which candidates run. Without OpenWithoutLease,
	// no candidate can be started again after the Lease was deleted. A Fence ByPod of
	// pods or serviceaccounts is invalid if OpenWithoutLease, Namespaces and ReportOnly
	// are all unset.
	OpenWithoutLease bool

	// ReportOnly makes the Fence accept stale writes. For each stale write, the API
	// server sends a warning to the writer and writes an entry into the audit log. Use
	// ReportOnly to try out a Fence. Make sure that the Lease exists: without the
	// Lease, an enforced Fence refuses every write, but a Fence with ReportOnly reports
	// no writes.
	ReportOnly bool

	// Name distinguishes several Fences. The name of the policy is
	// "incumbent-fencing.<Name>". Default: "<LeaseNamespace>.<LeaseName>".
	Name string
}

// policyPrefix is the beginning of the names of all policies that Policy returns.
// IsStale recognises a refusal by this prefix.
const policyPrefix = "incumbent-fencing."

func (f Fence) withDefaults() Fence {
	if f.ServiceAccountNamespace == "" {
		f.ServiceAccountNamespace = f.LeaseNamespace
	}
	if f.Mode == 0 {
		f.Mode = ByPod
	}
	if f.Name == "" {
		f.Name = strings.Trim(f.LeaseNamespace+"."+f.LeaseName, ".") // without Trim, validate would report a missing part twice
	}
	return f
}

func (f Fence) lease() string      { return f.LeaseNamespace + "/" + f.LeaseName }
func (f Fence) policyName() string { return policyPrefix + f.Name }
func (f Fence) has(mode Mode) bool { return f.Mode&mode != 0 }

// user returns the user name with which the service account sends requests.
func (f Fence) user() string {
	return "system:serviceaccount:" + f.ServiceAccountNamespace + ":" + f.ServiceAccount
}

// validate returns one error that names every problem of f. Call it after withDefaults.
func (f Fence) validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	names := []struct {
		field, value, remedy string
		check                func(string) []string
	}{
		{"LeaseNamespace", f.LeaseNamespace, "give the namespace of the Lease", utilvalidation.IsDNS1123Label},
		{"LeaseName", f.LeaseName, "give the name of the Lease that the replicas campaign for", checkSubdomain},
		{"ServiceAccount", f.ServiceAccount, "give the service account that the replicas run under", checkSubdomain},
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

func checkSubdomain(name string) []string { return validation.NameIsDNSSubdomain(name, false) }

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
	for _, msg := range checkSubdomain(f.policyName()) {
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

// validateTogether reports combinations of fields that are invalid.
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

// The start of a pod writes both of these resources. A client creates the pod, and the
// kubelet creates a token. The token is a subresource of the pod's service account.
var (
	pods            = schema.GroupResource{Resource: "pods"}
	serviceAccounts = schema.GroupResource{Resource: "serviceaccounts"}
)

// unguardable returns the reason why a Fence cannot guard a resource. It returns "" if
// a Fence can guard the resource.
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
