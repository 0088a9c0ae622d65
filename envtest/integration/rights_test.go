package integration_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// role returns the rules of the Role in leaderelection/README.md.
func role(t *testing.T) []rbacv1.PolicyRule {
	t.Helper()
	readme, err := os.ReadFile("../../leaderelection/README.md")
	must(t, err)
	_, rest, found := strings.Cut(string(readme), "```yaml\nrules:\n")
	text, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatal("leaderelection/README.md contains no Role")
	}
	var r rbacv1.Role
	must(t, yaml.Unmarshal([]byte("rules:\n"+text), &r))
	for _, rule := range r.Rules {
		for i := range rule.ResourceNames {
			rule.ResourceNames[i] = leaseName
		}
	}
	return r.Rules
}

// withoutVerb returns a copy of the rules that does not permit the given verb
// on the given resource.
func withoutVerb(rules []rbacv1.PolicyRule, resource, verb string) []rbacv1.PolicyRule {
	var rest []rbacv1.PolicyRule
	for _, rule := range rules {
		if slices.Contains(rule.Resources, resource) {
			rule.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(v string) bool { return v == verb })
		}
		if len(rule.Verbs) > 0 {
			rest = append(rest, rule)
		}
	}
	return rest
}

func TestElector_NeedsOnlyTheRightsOfItsRole(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]rbacv1.PolicyRule{
		"as the README has it": role(t),
		"without watch":        withoutVerb(role(t), "leases", "watch"),
		"without events":       withoutVerb(withoutVerb(role(t), "events", "create"), "events", "patch"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			first := s.candidate("pod-1", envtest.AsUser(s.cp.User(t, "first", s.namespace, rules...)))
			second := s.candidate("pod-2", envtest.AsUser(s.cp.User(t, "second", s.namespace, rules...)))
			first.run().awaitTerm()
			second.run().awaitLeader("pod-1")
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm().mustContinue(2)
		})
	}
}

func TestElector_WithoutRightsWaitsForThem(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1", envtest.AsUser("late")).run()
	for range 3 {
		c.awaitRead() // the API server refuses the read
	}
	if c.elector.IsLeader() || c.elector.GetLeader() != "" {
		t.Errorf("IsLeader is %v, GetLeader %q", c.elector.IsLeader(), c.elector.GetLeader())
	}
	if got := strings.Count(s.logs.String(), "failure=forbidden"); got != 1 {
		t.Errorf("%d log records say that a request is forbidden, want 1:\n%s", got, s.logs)
	}
	s.cp.User(t, "late", s.namespace, role(t)...)
	c.awaitTerm()
}

func TestElector_WithoutRightsRunReturnsWhenItsContextEnds(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1", envtest.AsUser(s.cp.User(t, "nobody", s.namespace))).run()
	c.awaitRead()
	if err := c.stop(); err != nil {
		t.Errorf("Run returned %v", err)
	}
}

func TestElector_WaitsForANamespaceThatDoesNotExist(t *testing.T) {
	s := newSharedCluster(t, longLease)
	s.config.LeaseNamespace = s.namespace + "-later"
	c := s.candidate("pod-1")
	claim := c.Network().DelayReplies(0, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")))
	c.run()
	claim.Await(t)
	_, err := s.cp.Admin().Clientset().CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.config.LeaseNamespace}}, metav1.CreateOptions{})
	must(t, err)
	c.awaitTerm()
}

func TestElector_RecordsEvents(t *testing.T) {
	broadcaster := record.NewBroadcaster()
	t.Cleanup(broadcaster.Shutdown) // runs after the candidate has ended, because cleanups run in reverse order
	s := newSharedCluster(t, longLease)
	user := s.cp.User(t, "first", s.namespace, role(t)...)
	c := s.newCandidate("pod-1", envtest.AsUser(user))
	sink := s.cp.Client("pod-1-events", envtest.AsUser(user))
	broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: sink.Clientset().CoreV1().Events("")})
	recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "test"})
	s.withElector(c, leaderelection.WithEventRecorder(recorder)).run().awaitTerm()
	eventually(t, func(ctx context.Context) error {
		return s.eventRecorded(ctx, "became leader")
	})
}
