package envtest

import (
	"context"
	"fmt"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// User is somebody whom the API servers know. Without rights it may do what every
// authenticated user may, and that is next to nothing.
type User struct {
	// Name and Groups are what RBAC knows the user by.
	Name   string
	Groups []string
}

// User makes a user who may do in that namespace what the rules say, through a
// Role and a RoleBinding of that name. It returns when the API servers that run
// enforce it, or fails the test. Without rules the user has no rights.
func (cp *ControlPlane) User(tb testing.TB, name, namespace string, rules ...rbacv1.PolicyRule) User {
	tb.Helper()
	user := User{Name: name}
	if len(rules) == 0 {
		return user
	}
	ctx, cancel := context.WithTimeout(tb.Context(), awaitLimit)
	defer cancel()
	if err := cp.bind(ctx, name, namespace, rules); err != nil {
		tb.Fatalf("making user %q: %v", name, err)
	}
	for i, server := range cp.servers {
		if !server.Running() {
			continue
		}
		client := cp.Client(name, AsUser(user), OnAPIServer(i))
		defer client.Close()
		for _, rule := range rules {
			if err := poll(ctx, func(ctx context.Context) error { return client.may(ctx, namespace, rule) }); err != nil {
				tb.Fatalf("waiting for the rights of user %q: %v", name, err)
			}
		}
	}
	return user
}

func (cp *ControlPlane) bind(ctx context.Context, name, namespace string, rules []rbacv1.PolicyRule) error {
	meta := metav1.ObjectMeta{Name: name, Namespace: namespace}
	rbac := cp.admin.Clientset().RbacV1()
	role := &rbacv1.Role{ObjectMeta: meta, Rules: rules}
	if _, err := rbac.Roles(namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := rbac.RoleBindings(namespace).Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: name}},
	}, metav1.CreateOptions{})
	return err
}

// may asks for one right of the rule: a Role is seen as a whole.
func (c *Client) may(ctx context.Context, namespace string, rule rbacv1.PolicyRule) error {
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
	answer, err := c.Clientset().AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
	if err == nil && !answer.Status.Allowed {
		err = fmt.Errorf("not allowed: %v", rule)
	}
	return err
}
