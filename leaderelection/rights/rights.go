// Package rights lists the rights that an election needs, returns a Role that grants
// them, and finds out which rights are missing.
//
//	missing, err := rights.Missing(ctx, clientset, rights.Uses{LeaseNamespace: "ns", LeaseName: "my-app-leader"})
//
// The command "kubectl lease rights" (leaderelection/kubectl-lease) prints the Role for
// kubectl apply. An Elector with the option [AtStart] logs an error for each missing
// right.
package rights

import (
	"cmp"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Uses describes how a program uses an election. The rights that the program needs
// depend on these fields. Successors and the Fences of package fencing need no
// additional rights.
type Uses struct {
	// LeaseNamespace and LeaseName are the namespace and the name of the Lease.
	LeaseNamespace string
	LeaseName      string

	// WithoutWatch is true if the program polls the Lease instead of watching it, as
	// client-go's elector does.
	WithoutWatch bool

	// SharedWatch is true if the electors of the program share one watch of all Leases in
	// the namespace, see leaderelection.WithSharedWatch.
	SharedWatch bool

	// Events is true if the program records events on the Lease. PodEvents is true if
	// the program also records events on the leader's Pod. Package manager always
	// records events on the Lease. If environment variables name the Pod, package
	// manager also records events on the Pod.
	Events    bool
	PodEvents bool

	// Route is true if the program labels the leader's Pod, see package routing.
	Route bool

	// ProofOfDeath is true if the program uses leaderelection.WithProofOfDeath. Package
	// manager uses it if environment variables name the Pod.
	ProofOfDeath bool

	// PodNamespace is the namespace of the replicas' Pods. Default: LeaseNamespace.
	PodNamespace string
}

// A Right is the permission to use one verb on one resource.
type Right struct {
	// Verb, Group and Resource have the same meaning as in a rule of a Role.
	Verb     string
	Group    string // "" is the core group
	Resource string

	// Namespace and Name limit the right to one namespace and to one object. An empty
	// Namespace means all namespaces. An empty Name means all objects.
	Namespace string
	Name      string

	// Without is a description of what happens if the right is missing.
	Without string
}

// String returns a human-readable form of the right, for example: watch
// leases.coordination.k8s.io "my-app-leader" in namespace "default".
func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Name != "" {
		text += fmt.Sprintf(" %q", r.Name)
	}
	if r.Namespace != "" {
		text += fmt.Sprintf(" in namespace %q", r.Namespace)
	}
	return text
}

// Rights returns all rights that a program with these uses needs, and no others.
func (u Uses) Rights() []Right {
	lease := func(verb, name, without string) Right {
		return Right{Verb: verb, Group: "coordination.k8s.io", Resource: "leases", Namespace: u.LeaseNamespace, Name: name, Without: without}
	}
	all := []Right{
		lease("create", "", "it cannot lead until somebody else has created the Lease"), // RBAC cannot limit the verb create to a name
		lease("get", u.LeaseName, "it cannot lead until somebody else has created the Lease, nor at all without the right to watch it, "+
			"and it cannot find out whether a write without a reply was stored"),
		lease("update", u.LeaseName, "it can neither claim the Lease when it exists, nor renew or release it"),
	}
	const polls = "it polls the Lease: a change of leader takes seconds, not milliseconds"
	switch {
	case u.WithoutWatch:
	case u.SharedWatch:
		all = append(all, lease("watch", "", polls))
	default:
		all = append(all, lease("watch", u.LeaseName, polls))
	}
	pods := cmp.Or(u.PodNamespace, u.LeaseNamespace)
	if u.Events || u.PodEvents && pods == u.LeaseNamespace {
		all = append(all, events(u.LeaseNamespace)...)
	}
	if u.PodEvents && pods != u.LeaseNamespace {
		all = append(all, events(pods)...)
	}
	if u.Route {
		all = append(all,
			Right{Verb: "list", Resource: "pods", Namespace: pods, Without: "labels of crashed leaders are not removed"},
			Right{Verb: "patch", Resource: "pods", Namespace: pods, Without: "no Pod is labelled: the leader's Service has no endpoint"})
	}
	if u.ProofOfDeath { // the names of the Pods are not known in advance
		all = append(all,
			Right{Verb: "get", Resource: "pods", Namespace: pods, Without: "after a crash of this process, candidates wait until the Lease expires"},
			Right{Verb: "watch", Resource: "pods", Namespace: pods, Without: "after a crash of the leader, this process claims the Lease seconds later than it could"})
	}
	return all
}

func events(namespace string) []Right {
	return []Right{
		{Verb: "create", Resource: "events", Namespace: namespace, Without: "events of the election are missing; nothing else"},
		{Verb: "patch", Resource: "events", Namespace: namespace, Without: "repeated events are not counted; nothing else"},
	}
}

// Rules returns the rules for a Role in a namespace. The rules grant all given rights
// whose field Namespace is this namespace. Rules ignores the other rights.
func Rules(rights []Right, namespace string) []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, r := range rights {
		if r.Namespace != namespace {
			continue
		}
		rule := rbacv1.PolicyRule{APIGroups: []string{r.Group}, Resources: []string{r.Resource}}
		if r.Name != "" {
			rule.ResourceNames = []string{r.Name}
		}
		i := slices.IndexFunc(rules, func(o rbacv1.PolicyRule) bool {
			return o.APIGroups[0] == r.Group && o.Resources[0] == r.Resource && slices.Equal(o.ResourceNames, rule.ResourceNames)
		})
		if i < 0 {
			i, rules = len(rules), append(rules, rule)
		}
		rules[i].Verbs = append(rules[i].Verbs, r.Verb)
	}
	return rules
}

// Roles returns one Role for each namespace in which a program with these uses needs
// rights. For each Role, it also returns a RoleBinding, which binds the Role to the
// service account. All Roles and RoleBindings have the given name.
func (u Uses) Roles(name, accountNamespace, account string) ([]*rbacv1.Role, []*rbacv1.RoleBinding) {
	var roles []*rbacv1.Role
	var bindings []*rbacv1.RoleBinding
	var done []string
	all := u.Rights()
	for _, r := range all {
		if slices.Contains(done, r.Namespace) {
			continue
		}
		done = append(done, r.Namespace)
		meta := metav1.ObjectMeta{Namespace: r.Namespace, Name: name}
		roles = append(roles, &rbacv1.Role{TypeMeta: typeMeta("Role"), ObjectMeta: meta, Rules: Rules(all, r.Namespace)})
		bindings = append(bindings, &rbacv1.RoleBinding{
			TypeMeta: typeMeta("RoleBinding"), ObjectMeta: meta,
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: accountNamespace, Name: account}},
		})
	}
	return roles, bindings
}

func typeMeta(kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: kind}
}
