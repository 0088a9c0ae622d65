package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func (s *testCluster) uses() rights.Uses {
	return rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName}
}

func TestRights_SufficeForAnElection(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*rights.Uses){
		"watching":      func(*rights.Uses) {},
		"without watch": func(u *rights.Uses) { u.WithoutWatch = true },
		"shared watch":  func(u *rights.Uses) { u.SharedWatch = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			uses := s.uses()
			change(&uses)
			rules := rights.Rules(uses.Rights(), s.namespace)
			candidate := func(name, user string) *candidate {
				c := s.newCandidate(name, envtest.AsUser(s.cp.User(t, user, s.namespace, rules...)))
				if uses.SharedWatch {
					return s.withElector(c, leaderelection.WithSharedWatch(leaderelection.NewSharedWatch(c.Clientset(), s.namespace)))
				}
				return s.withElector(c)
			}
			first, second := candidate("pod-1", "first"), candidate("pod-2", "second")
			if missing, err := rights.Missing(t.Context(), first.Clientset(), uses); err != nil || len(missing) > 0 {
				t.Errorf("missing are %v, %v", missing, err)
			}
			first.run().awaitTerm()
			second.run().awaitLeader("pod-1")
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm().mustContinue(2)
			if watching := second.elector.State().Watching; watching == uses.WithoutWatch {
				t.Errorf("it watches: %v", watching)
			}
			// The log must report a forbidden request only if the right to
			// watch is missing.
			if logged := strings.Contains(s.logs.String(), "forbidden"); logged != uses.WithoutWatch {
				t.Errorf("the log reports a forbidden request: %v\n%s", logged, s.logs)
			}
		})
	}
}

func TestRights_MissingRightIsNamed(t *testing.T) {
	s := newSharedCluster(t, longLease)
	uses := s.uses()
	uses.Events, uses.Route, uses.SharedWatch, uses.ProofOfDeath = true, true, true, true
	all := uses.Rights()
	for i, right := range all {
		account := s.cp.ServiceAccount(t, fmt.Sprintf("less-%d", i), s.namespace,
			rights.Rules(slices.Delete(slices.Clone(all), i, i+1), s.namespace)...)
		client := s.cp.Client(account.Name, envtest.AsPod(account, "pod-1"))
		t.Cleanup(client.Close)
		own, err := rights.Missing(t.Context(), client.Clientset(), uses)
		must(t, err)
		asked, err := rights.MissingOf(t.Context(), s.cp.Admin().Clientset(), account.Namespace, account.Name, uses)
		must(t, err)
		if want := []rights.Right{right}; !slices.Equal(own, want) || !slices.Equal(asked, want) {
			t.Errorf("without %v: missing are %v, and asked for the account %v", right, own, asked)
		}
		var log bytes.Buffer
		rights.Preflight(t.Context(), client.Clientset(), uses, slog.New(slog.NewTextHandler(&log, nil)))
		if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, right.Verb+" "+right.Resource) {
			t.Errorf("without %v the preflight reported:\n%s", right, text)
		}
	}
	if _, err := rights.MissingOf(t.Context(), s.cp.Client("nobody", envtest.AsUser("nobody")).Clientset(), "a", "b", uses); !apierrors.IsForbidden(err) {
		t.Errorf("a client without the right to ask got %v", err)
	}
}

// The test removes one right at a time. It checks that each missing right has
// its documented consequence.
func TestRights_EachRightIsNeeded(t *testing.T) {
	t.Parallel()
	all := rights.Uses{}.Rights()
	for i, right := range all {
		t.Run(right.Verb, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			rules := rights.Rules(slices.Delete(s.uses().Rights(), i, i+1), s.namespace)
			c := s.candidate("pod-1", envtest.AsUser(s.cp.User(t, "less", s.namespace, rules...)))
			switch right.Verb {
			case "create", "get":
				c.run()
				for range 3 {
					c.awaitRead()
				}
				if c.elector.IsLeader() {
					t.Error("it leads although it cannot create the Lease")
				}
				s.makeLease()
				c.awaitTerm()
			case "update":
				s.makeLease()
				c.run().awaitRenewals(3) // the candidate sends claims, and the API server refuses them
				if c.elector.IsLeader() || s.holder() != "" {
					t.Errorf("IsLeader is %v, and the Lease names %q", c.elector.IsLeader(), s.holder())
				}
			case "watch":
				c.run().awaitTerm()
				if c.elector.State().Watching {
					t.Error("it watches")
				}
			default:
				t.Errorf("the test has no case for the right to %v", right)
			}
			if !strings.Contains(s.logs.String(), "forbidden") {
				t.Errorf("no log record reports a forbidden request:\n%s", s.logs)
			}
		})
	}
}

// makeLease creates a Lease that has never had a holder.
func (s *testCluster) makeLease() {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}}
	_, err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Create(ctx, lease, metav1.CreateOptions{})
	must(s.T, err)
}

// A repeated event is recorded as a patch of the existing Event. This needs the
// right to patch Events.
func TestRights_SufficeForEvents(t *testing.T) {
	t.Parallel()
	for _, verbs := range [][]string{{"create", "patch"}, {"create"}} {
		t.Run(strings.Join(verbs, " and "), func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			uses := s.uses()
			uses.Events = true
			rules := slices.DeleteFunc(uses.Rights(), func(r rights.Right) bool { return r.Resource == "events" && !slices.Contains(verbs, r.Verb) })
			user := s.cp.User(t, "recorder", s.namespace, rights.Rules(rules, s.namespace)...)
			broadcaster := record.NewBroadcaster()
			t.Cleanup(broadcaster.Shutdown)
			sink := s.cp.Client("events", envtest.AsUser(user))
			broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: sink.Clientset().CoreV1().Events("")})
			lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: leaseName}}
			recorder := broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "test"})
			for _, what := range []string{"again", "again", "last"} {
				recorder.Event(lease, corev1.EventTypeNormal, "Test", what)
			}
			eventually(t, func(ctx context.Context) error { return s.eventRecorded(ctx, "last") })
			if n := s.countOfEvent("again"); n != int32(len(verbs)) {
				t.Errorf("an event that occurred twice has the count %d", n)
			}
		})
	}
}

// A candidate needs no additional right to nominate a successor.
func TestRights_SufficeForTheSuccessor(t *testing.T) {
	s := newSharedCluster(t, longLease)
	user := s.cp.User(t, "least", s.namespace, rights.Rules(s.uses().Rights(), s.namespace)...)
	first := s.candidate("pod-1", envtest.AsUser(user)).run()
	first.awaitTerm()
	second := s.candidate("pod-2", envtest.AsUser(user)).run()
	ctx, cancel := within()
	defer cancel()
	for state := range second.elector.Changes(ctx) {
		if state.Successor == "pod-2" {
			return
		}
	}
	t.Errorf("the follower has not become the successor: %+v\n%s", second.elector.State(), s.logs)
}

func TestRights_SufficeBehindAFence(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	own := []string{"create", "update"}
	p.account = p.cp.ServiceAccount(t, "least", p.namespace, append(
		rights.Rules(rights.Uses{LeaseNamespace: p.namespace, LeaseName: leaseName}.Rights(), p.namespace),
		rbacv1.PolicyRule{Verbs: own, APIGroups: []string{""}, Resources: []string{"configmaps"}})...)
	p.fence.ServiceAccount, p.fence.Mode = p.account.Name, fencing.ByPod|fencing.ByTerm
	p.enforce()
	leader := p.lead("pod-a")
	_, err := leader.CoreV1().ConfigMaps(p.namespace).Create(leader.ctx, p.configMap("a"), metav1.CreateOptions{})
	must(t, err)
	_, err = leader.CoreV1().ConfigMaps(p.namespace).Update(leader.ctx, p.configMap("a"), metav1.UpdateOptions{})
	must(t, err)
}

// countOfEvent returns how often an event with the given message was recorded
// for the Lease.
func (s *testCluster) countOfEvent(message string) (n int32) {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	list, err := s.cp.Admin().Clientset().CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
	must(s.T, err)
	for _, event := range list.Items {
		if event.InvolvedObject.Name == leaseName && event.Message == message {
			n += event.Count
		}
	}
	return n
}
