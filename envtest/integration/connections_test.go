package integration_test

import (
	"errors"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// withOwnClient adds one of ours whose clientset is made as the documentation says.
func (s *stage) withOwnClient(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	c.electing = func() kubernetes.Interface { return kubernetes.NewForConfigOrDie(s.config.ClientConfig(c.Config())) }
	return s.withElector(c)
}

func TestElector_DeadConnectionsEndNoTerm(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.withOwnClient("pod-1")
	term := c.run().awaitTerm()
	c.awaitRenewals(2)
	s.note("pod-1", "its connections die")
	c.LoseConnections()
	term.mustGoOn(3)
}

// Why the documentation says so: all attempts share one connection.
func TestElector_ADeadConnectionOfHTTP2EndsTheTerm(t *testing.T) {
	s := newParallelStage(t, brisk)
	c := s.candidate("pod-1")
	term := c.run().awaitTerm()
	c.awaitRenewals(2)
	s.note("pod-1", "its connection dies")
	c.LoseConnections()
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrRenewalFailed) {
		t.Errorf("the work was told to stop because %v", err)
	}
}

// The 45 s that HTTP/2 takes would pass before such a follower sees anything.
func TestElector_DeadConnectionsDoNotBlindAFollower(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, _ := newReign(s, s.withOwnClient)
	s.note("pod-2", "its connections die")
	second.LoseConnections()
	lost := time.Now()
	if err := first.stop(); err != nil {
		t.Error(err)
	}
	second.awaitTerm()
	if blind := time.Since(lost); blind > 30*time.Second {
		t.Errorf("it was blind for %v", blind)
	}
}
