package integration_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/health"
)

// A follower does not write the Lease. Therefore a follower needs a
// SelfSubjectAccessReview to detect that the right to write is missing.
func TestHealth_FollowerWithoutTheRightToWriteIsNotReady(t *testing.T) {
	for name, tt := range map[string]struct {
		without string
		want    string
	}{
		"all rights":     {"", ""},
		"without update": {"update", "missing right: update leases.coordination.k8s.io"},
		"without watch":  {"watch", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			rules := role(t)
			if tt.without != "" {
				rules = withoutVerb(rules, "leases", tt.without)
			}
			user := s.cp.User(t, "limited", s.namespace, rules...)
			s.withElector(s.newCandidate("pod-1")).run().awaitTerm()
			follower := s.newCandidate("pod-2", envtest.AsUser(user))
			h := health.New(health.WithReview(follower.Clientset()))
			s.withElector(follower, h.Option()).run()
			for state := range follower.elector.Changes(t.Context()) {
				if state.Leader == "pod-1" {
					break
				}
			}
			eventually(t, func(context.Context) error { // retry, because Ready ignores a SelfSubjectAccessReview that takes too long
				err := h.Ready(nil)
				if tt.want == "" || err != nil && strings.Contains(err.Error(), tt.want) {
					return nil
				}
				return fmt.Errorf("Ready = %w, want %q", err, tt.want)
			})
			if err := h.Ready(nil); tt.want == "" && err != nil {
				t.Errorf("Ready = %v", err)
			}
		})
	}
}
