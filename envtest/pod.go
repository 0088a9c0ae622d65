package envtest

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
)

// ServiceAccount is a service account with whose identity a test sends requests.
// The service account need not exist.
type ServiceAccount struct {
	// Namespace and Name name the service account.
	Namespace string
	Name      string
}

// ServiceAccount returns a service account that has these rights in its namespace.
// Like [ControlPlane.User], it waits until the API servers enforce them.
func (cp *ControlPlane) ServiceAccount(tb testing.TB, name, namespace string, rules ...rbacv1.PolicyRule) ServiceAccount {
	tb.Helper()
	account := ServiceAccount{Namespace: namespace, Name: name}
	cp.User(tb, account.userName(), namespace, rules...)
	return account
}

// Allow gives the service account these rights in its namespace, with a Role and a
// RoleBinding. It returns when the API server enforces them, or fails the test.
// The user of config must be an administrator. The config may be of another control
// plane, for example controller-runtime's envtest. Call Allow once per service
// account, because it does not remove the Role.
func (a ServiceAccount) Allow(tb testing.TB, config *rest.Config, rules ...rbacv1.PolicyRule) {
	tb.Helper()
	allow(tb, a.userName(), a.Namespace, rules, []*rest.Config{config})
}

func (a ServiceAccount) userName() string {
	return "system:serviceaccount:" + a.Namespace + ":" + a.Name
}

// Pod returns a copy of config that impersonates a pod of the service account, with
// the same user information as the token of a real pod. The pod need not exist. The
// user of config must have the right to impersonate, like an administrator. The
// config may be of another control plane, for example controller-runtime's envtest.
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

// podClaim is the extra field of a user that names the pod of its token.
const podClaim = "authentication.kubernetes.io/pod-name"

type pod struct {
	account ServiceAccount
	name    string
}

// AsPod gives the client the identity of a pod of a service account. If the name
// is empty, the client has a token of the account that is bound to no pod.
func AsPod(account ServiceAccount, name string) ClientOption {
	return func(s *clientSettings) { s.pod = &pod{account, name} }
}
