package envtest

import (
	"context"
	"fmt"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// User creates a Role with the given rules in a namespace, and binds the Role
// to the user with the given name. The Role and the RoleBinding have the same
// name as the user. If there are no rules, User creates no Role, and the user
// has no rights.
//
// User returns the name of the user when all running API servers enforce the
// rules. The test fails if an error occurs.
func (cp *ControlPlane) User(tb testing.TB, name, namespace string, rules ...rbacv1.PolicyRule) string {
	tb.Helper()
	var configs []*rest.Config
	for i, server := range cp.servers {
		if server.Running() {
			client := cp.Client(name, OnAPIServer(i))
			defer client.Close()
			configs = append(configs, client.Config())
		}
	}
	allow(tb, name, namespace, rules, configs)
	return name
}

// allow creates a Role with the given rules in a namespace, and binds the Role
// to the user. allow returns when the API server of each config enforces the
// rules. These API servers must use the same etcd. The user of each config must
// be an administrator.
func allow(tb testing.TB, user, namespace string, rules []rbacv1.PolicyRule, configs []*rest.Config) {
	tb.Helper()
	if len(rules) == 0 || len(configs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(tb.Context(), requestTimeout)
	defer cancel()
	if err := bind(ctx, configs[0], user, namespace, rules); err != nil {
		tb.Fatalf("giving rights to user %q: %v", user, err)
	}
	for _, config := range configs {
		config = rest.CopyConfig(config)
		config.Impersonate = rest.ImpersonationConfig{UserName: user, Groups: []string{"system:authenticated"}}
		for _, rule := range rules {
			if err := poll(ctx, func(ctx context.Context) error { return checkFirstRight(ctx, config, namespace, rule) }); err != nil {
				tb.Fatalf("waiting for the rights of user %q: %v", user, err)
			}
		}
	}
}

func bind(ctx context.Context, config *rest.Config, user, namespace string, rules []rbacv1.PolicyRule) error {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: user, Namespace: namespace}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
	if _, err := clientset.RbacV1().Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err = clientset.RbacV1().RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, metav1.CreateOptions{})
	return err
}

// checkFirstRight returns nil if the API server grants the first right of the
// rule. The other rights are not checked, because an API server applies all
// rules of a Role at the same time.
func checkFirstRight(ctx context.Context, config *rest.Config, namespace string, rule rbacv1.PolicyRule) error {
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	first := func(of []string) string {
		if len(of) == 0 {
			return ""
		}
		return of[0]
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: first(rule.Verbs), Group: first(rule.APIGroups),
			Resource: first(rule.Resources), Name: first(rule.ResourceNames),
		},
	}}
	answer, err := clientset.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err == nil && !answer.Status.Allowed {
		err = fmt.Errorf("not allowed: %v", rule)
	}
	return err
}

// ServiceAccount is a service account whose identity a test can use for
// requests. The service account need not exist in the cluster.
type ServiceAccount struct {
	// Namespace and Name identify the service account.
	Namespace string
	Name      string
}

// ServiceAccount returns the service account with the given name and namespace,
// but does not create it in the cluster. The service account gets a Role with
// the given rules in its namespace. Like [ControlPlane.User], ServiceAccount
// waits until all running API servers enforce the rules.
func (cp *ControlPlane) ServiceAccount(tb testing.TB, name, namespace string, rules ...rbacv1.PolicyRule) ServiceAccount {
	tb.Helper()
	account := ServiceAccount{Namespace: namespace, Name: name}
	cp.User(tb, account.userName(), namespace, rules...)
	return account
}

// Allow creates a Role with the given rules in the namespace of the service
// account, and binds the Role to the service account. Allow returns when the
// API server enforces the rules. The test fails if an error occurs. Call Allow
// only once for each service account, because the Role is not removed.
//
// config is a client configuration of an administrator. This
// configuration may belong to another control plane, for example to the envtest
// of controller-runtime.
func (a ServiceAccount) Allow(tb testing.TB, config *rest.Config, rules ...rbacv1.PolicyRule) {
	tb.Helper()
	allow(tb, a.userName(), a.Namespace, rules, []*rest.Config{config})
}

func (a ServiceAccount) userName() string {
	return "system:serviceaccount:" + a.Namespace + ":" + a.Name
}

// Pod returns a copy of config that impersonates a pod with this service
// account. The API server receives the same user information as from a real
// pod. The pod need not exist.
//
// The user of config must be an administrator, or have the right to impersonate
// other users. config may belong to another control plane, for
// example to the envtest of controller-runtime.
func (a ServiceAccount) Pod(config *rest.Config, pod string) *rest.Config {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: a.userName(),
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + a.Namespace, "system:authenticated"},
	}
	if pod != "" {
		config.Impersonate.Extra = map[string][]string{podClaim: {pod}}
	}
	return config
}

// podClaim is a key in the extra fields of a user. The value for this key is
// the name of the pod to which the token of the user is bound.
const podClaim = "authentication.kubernetes.io/pod-name"

type pod struct {
	account ServiceAccount
	name    string
}

// AsPod gives the client the identity of a pod that uses the service account.
// If name is empty, the identity contains only the service account and no pod.
func AsPod(account ServiceAccount, name string) ClientOption {
	return func(s *clientSettings) { s.pod = &pod{account, name} }
}
