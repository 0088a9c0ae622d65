package envtest_test

import (
	"context"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// bareCandidate adds a candidate that uses client-go's LeaderElector as it is, on
// the same timing. It campaigns once: its users exit when it has stopped.
func (s *stage) bareCandidate(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	engine, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock:            leaseLock(c.Clientset(), s.namespace, name),
		LeaseDuration:   s.config.LeaseDuration,
		RenewDeadline:   s.config.RenewDeadline,
		RetryPeriod:     s.config.RetryPeriod,
		ReleaseOnCancel: s.config.ReleaseOnCancel,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: c.onStartedLeading,
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	c.bare = func(ctx context.Context) error {
		engine.Run(logr.NewContext(ctx, logr.FromSlogHandler(s.logs.logger(name).Handler())))
		return nil
	}
	return c
}

func leaseLock(client kubernetes.Interface, namespace, identity string) resourcelock.Interface {
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: leaseName},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}
}
