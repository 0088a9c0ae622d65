package envtest

import (
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/client-go/rest"
)

// ServiceAccount is one whose pods a test acts as. It need not exist: there is no
// kubelet that would fetch its tokens.
type ServiceAccount struct {
	// Namespace and Name are the service account's.
	Namespace string
	Name      string
}

// ServiceAccount makes a service account that may do in its namespace what the
// rules say, as User does for users.
func (cp *ControlPlane) ServiceAccount(tb testing.TB, name, namespace string, rules ...rbacv1.PolicyRule) ServiceAccount {
	tb.Helper()
	account := ServiceAccount{Namespace: namespace, Name: name}
	cp.User(tb, account.userName(), namespace, rules...)
	return account
}

// Allow lets the service account do in its namespace what the rules say, through a
// Role and a RoleBinding, and returns when the API server enforces it, or fails the
// test. The user of config must be an administrator; config may be one of
// controller-runtime's envtest. Call it once for an account: what it made stays.
func (a ServiceAccount) Allow(tb testing.TB, config *rest.Config, rules ...rbacv1.PolicyRule) {
	tb.Helper()
	allow(tb, a.userName(), a.Namespace, rules, []*rest.Config{config})
}

func (a ServiceAccount) userName() string {
	return "system:serviceaccount:" + a.Namespace + ":" + a.Name
}

// Pod returns a copy of config that acts as that pod of the service account, with
// the names that the API server finds in the token of a real one. The pod need not
// exist. The user of config must be allowed to impersonate, as administrators are;
// config may be one of controller-runtime's envtest.
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

// podClaim is where the API server says to which pod a token is bound.
const podClaim = "authentication.kubernetes.io/pod-name"

type pod struct {
	account ServiceAccount
	name    string
}

// AsPod makes the client that pod of the service account. An empty name means a
// token of the account that is bound to no pod.
func AsPod(account ServiceAccount, name string) ClientOption {
	return func(s *clientSettings) { s.pod = &pod{account, name} }
}
