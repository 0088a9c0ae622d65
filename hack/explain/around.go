package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

// leisure is how long what stands around the Lease is believed.
const leisure = time.Minute

// The surroundings are what the Lease does not say itself. They are looked at
// beside it, so that they keep nobody from hearing of it.
type surroundings struct {
	*options
	clientset kubernetes.Interface
	known     chan struct{} // closed when they were looked at for the first time

	mu      sync.Mutex
	rights  *explain.Rights
	fences  *explain.Fences
	nowhere bool // there is no such namespace
}

// keep looks around, and again at leisure if it is followed, until ctx is done.
func (s *surroundings) keep(ctx context.Context) {
	s.look(ctx)
	close(s.known)
	for s.follow {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leisure):
			s.look(ctx)
		}
	}
}

// look looks around, at all at once: what does not answer holds up nothing else.
func (s *surroundings) look(ctx context.Context) {
	var looks sync.WaitGroup
	var fences explain.Fences
	var rights *explain.Rights
	nowhere := false
	looks.Go(func() { fences = explain.LookForFences(ctx, s.clientset, s.namespace, s.name) })
	looks.Go(func() { nowhere = explain.NamespaceAbsent(ctx, s.clientset, s.namespace) })
	if s.account != "" {
		looks.Go(func() { rights = new(s.lookIntoRights(ctx)) })
	}
	looks.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fences, s.rights, s.nowhere = &fences, rights, nowhere
}

func (s *surroundings) lookIntoRights(ctx context.Context) explain.Rights {
	namespace, account, found := strings.Cut(s.account, "/")
	if !found {
		namespace, account = s.namespace, s.account
	}
	uses := s.uses
	uses.LeaseNamespace, uses.LeaseName, uses.PodEvents = s.namespace, s.name, s.uses.Events
	return explain.LookIntoRights(ctx, s.clientset, namespace, account, uses)
}

// await returns when they are known for the first time, or ctx is done. Whoever
// follows the Lease waits before he begins, not in between: he would miss what happens.
func (s *surroundings) await(ctx context.Context) {
	select {
	case <-s.known:
	case <-ctx.Done():
	}
}

// describe adds them to an answer.
func (s *surroundings) describe(a *explain.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Rights, a.Fences = s.rights, s.fences
	if s.nowhere {
		a.LacksNamespace()
	}
}
