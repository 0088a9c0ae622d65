package integration_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

func TestElector_LeaderStaysWhileTheAPIServerRestarts(t *testing.T) {
	cp := exclusive.alone(t)
	for name, stop := range map[string]func() error{"stopped": cp.APIServer(0).Stop, "killed": cp.APIServer(0).Kill} {
		t.Run(name, func(t *testing.T) {
			s := newCluster(t, cp, veryLongLease)
			first, second, term := startTwo(s, s.candidate)
			must(t, stop())
			s.note("", "the API server is "+name)
			must(t, cp.APIServer(0).Start())
			s.note("", "the API server is ready again")
			term.mustContinue(3)
			if err := first.stop(); err != nil {
				t.Errorf("Run returned %v", err)
			}
			second.awaitTerm()
		})
	}
}

func TestElector_AnotherLeadsAfterTheLeadersAPIServerWasKilled(t *testing.T) {
	cp := exclusive.alone(t)
	s := newCluster(t, cp, shortLease)
	first, second := s.candidate("pod-1"), s.candidate("pod-2", envtest.OnAPIServer(1))
	term := first.run().awaitTerm()
	second.run().awaitLeader("pod-1")
	must(t, cp.APIServer(0).Kill())
	s.note("", "the API server of pod-1 is killed")
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	second.awaitTerm()
	must(t, cp.APIServer(0).Start())
	first.awaitLeader("pod-2")
}

func TestElector_LeaderStaysWhileEtcdRestarts(t *testing.T) {
	cp := exclusive.alone(t)
	s := newCluster(t, cp, veryLongLease)
	_, _, term := startTwo(s, s.candidate)
	must(t, cp.Etcd().Kill())
	s.note("", "etcd is killed")
	must(t, cp.Etcd().Start())
	s.note("", "etcd is healthy again")
	term.mustContinue(3)
}

func TestElector_LeadsAgainAfterEtcdWasRestoredFromABackup(t *testing.T) {
	cp := exclusive.alone(t)
	for name, timing := range map[string]leaderelection.Config{
		"trust ran out meanwhile": shortLease,
		"trust is left":           timing(20*time.Second, 17*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			s := newCluster(t, cp, timing)
			s.ledger.rewound = true
			first, second, term := startTwo(s, s.candidate)
			restore, err := cp.Backup()
			must(t, err)
			term = s.awaitLeader(term, first, second)
			// The test makes 200 writes before the restore. The API servers
			// make fewer writes when they start again. Therefore the
			// resourceVersions are lower after the restore than before.
			s.fill(200)
			must(t, restore())
			s.note("", "etcd was restored from a backup")
			if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrHistoryRewound) && !errors.Is(err, leaderelection.ErrRenewalFailed) && !errors.Is(err, leaderelection.ErrOvertaken) {
				t.Errorf("the work was asked to stop because %v", err)
			}
			t.Logf("the work was asked to stop because %v", term.cause())
			awaitTerm(first, second).mustContinue(3)
		})
	}
}

// awaitLeader returns the current term. If the term in the parameter last has
// ended, awaitLeader waits for the next term of any of the candidates.
func (s *testCluster) awaitLeader(last *termRun, candidates ...*candidate) *termRun {
	s.Helper()
	for last.ctx.Err() != nil {
		last = awaitTerm(candidates...)
	}
	return last
}

// fill creates n ConfigMaps to increase the resourceVersions that etcd assigns.
func (s *testCluster) fill(n int) {
	s.Helper()
	for i := range n {
		_, err := s.cp.Admin().Clientset().CoreV1().ConfigMaps(s.namespace).Create(s.Context(),
			configMap(fmt.Sprintf("fill-%d", i)), metav1.CreateOptions{})
		must(s.T, err)
	}
}
