package envtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func (s *stage) uses() rights.Uses {
	return rights.Uses{LeaseNamespace: s.namespace, LeaseName: leaseName}
}

func TestRights_SufficeForAnElection(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*rights.Uses){
		"watching":      func(*rights.Uses) {},
		"without watch": func(u *rights.Uses) { u.WithoutWatch = true },
		"events":        func(u *rights.Uses) { u.Events = true },
	} {
		t.Run(name, func(t *testing.T) {
			s := newParallelStage(t, calm)
			uses := s.uses()
			change(&uses)
			rules := rights.Rules(uses.Rights(), s.namespace)
			first := s.candidate("pod-1", envtest.AsUser(s.cp.User(t, "first", s.namespace, rules...)))
			second := s.candidate("pod-2", envtest.AsUser(s.cp.User(t, "second", s.namespace, rules...)))
			if missing, err := rights.Missing(t.Context(), first.Clientset(), uses); err != nil || len(missing) > 0 {
				t.Errorf("missing are %v, %v", missing, err)
			}
			first.run().awaitTerm()
			second.run().awaitLeader("pod-1")
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm().mustGoOn(2)
			if said := strings.Contains(s.logs.String(), "forbidden"); said != uses.WithoutWatch { // then it is told once
				t.Errorf("that something is forbidden was logged: %v\n%s", said, s.logs)
			}
		})
	}
}

func TestRights_EachThatIsMissingIsNamed(t *testing.T) {
	s := newParallelStage(t, calm)
	uses := s.uses()
	uses.Events, uses.Route = true, true
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
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, right.Verb+" "+right.Resource) {
			t.Errorf("without %v the preflight said:\n%s", right, text)
		}
	}
	if _, err := rights.MissingOf(t.Context(), s.cp.Client("nobody", envtest.AsUser(envtest.User{Name: "nobody"})).Clientset(), "a", "b", uses); !apierrors.IsForbidden(err) {
		t.Errorf("whoever may not ask got %v", err)
	}
}

// Each right is needed: without it an election meets a refusal, and says so.
func TestRights_EachIsNeeded(t *testing.T) {
	t.Parallel()
	for i, right := range (rights.Uses{}).Rights() {
		t.Run(right.Verb, func(t *testing.T) {
			s := newParallelStage(t, calm)
			all := s.uses().Rights()
			rules := rights.Rules(slices.Delete(all, i, i+1), s.namespace)
			c := s.candidate("pod-1", envtest.AsUser(s.cp.User(t, "less", s.namespace, rules...)))
			c.run()
			awaitAnswer(t, func(context.Context) error {
				if !strings.Contains(s.logs.String(), "forbidden") {
					return fmt.Errorf("nothing is forbidden: %s", s.logs)
				}
				return nil
			})
		})
	}
}
