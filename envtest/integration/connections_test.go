package integration_test

import (
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// withOwnClient adds a candidate whose Elector uses a client that was created
// with Config.ClientConfig.
func (s *testCluster) withOwnClient(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	c.electionClient = func() kubernetes.Interface { return kubernetes.NewForConfigOrDie(s.config.ClientConfig(c.Config())) }
	return s.withElector(c)
}

func TestElector_DeadConnectionsEndNoTerm(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.withOwnClient("pod-1")
	term := c.run().awaitTerm()
	c.awaitRenewals(2)
	s.note("pod-1", "its connections die")
	c.LoseConnections()
	term.mustContinue(3)
}

// Without Config.ClientConfig, all requests of an Elector share one HTTP/2
// connection. If this connection is dead, all attempts to renew the Lease fail.
func TestElector_ADeadConnectionOfHTTP2EndsTheTerm(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	c := s.candidate("pod-1")
	term := c.run().awaitTerm()
	c.awaitRenewals(2)
	s.note("pod-1", "its connection dies")
	c.LoseConnections()
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was asked to stop because %v", err)
	}
}

// HTTP/2 takes 45 s to detect a dead connection. The follower in this test
// needs less time, because its client was created with Config.ClientConfig.
func TestElector_FollowerWithDeadConnectionsClaimsWithin30Seconds(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.withOwnClient)
	s.note("pod-2", "its connections die")
	second.LoseConnections()
	lost := time.Now()
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	second.awaitTerm()
	if took := time.Since(lost); took > 30*time.Second {
		t.Errorf("the follower claimed %v after its connections died", took)
	}
}
