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

// User gives a user these rights in the namespace, with a Role and a RoleBinding of
// the user's name. It returns the name when the API servers that are running enforce
// them, or fails the test. Without rules the user has no rights.
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

// allow gives a user rights and returns when the API servers of the configs, which
// share one etcd, enforce them. The users of the configs must be administrators.
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
			if err := poll(ctx, func(ctx context.Context) error { return may(ctx, config, namespace, rule) }); err != nil {
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

// may returns nil if the API server grants one right of the rule. One is enough,
// because the API server sees a Role completely or not at all.
func may(ctx context.Context, config *rest.Config, namespace string, rule rbacv1.PolicyRule) error {
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
