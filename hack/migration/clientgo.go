package migration

import (
	"context"
	"log/slog"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// runClientGo elects a leader with client-go. It shows the code of a program before the
// migration.
func runClientGo(ctx context.Context, clientset kubernetes.Interface, namespace, id string, work func(context.Context), stopped func()) {
	clientleaderelection.RunOrDie(ctx, clientleaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Name: "my-app-leader", Namespace: namespace},
			Client:     clientset.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: id},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
		Callbacks:       clientleaderelection.LeaderCallbacks{OnStartedLeading: work, OnStoppedLeading: stopped},
	})
}

// RunElector elects a leader with package leaderelection of this module. It shows the
// code of the program after the migration from client-go.
func RunElector(ctx context.Context, clientset kubernetes.Interface, namespace, id string, work func(context.Context), stopped func(), logger *slog.Logger) error {
	elector, err := leaderelection.New(&leaderelection.Config{
		Enabled: true, Identity: id, LeaseName: "my-app-leader", LeaseNamespace: namespace,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true, StopTimeout: 25 * time.Second,
	}, clientset, leaderelection.Callbacks{OnStartedLeading: work, OnStoppedLeading: stopped}, logger)
	if err != nil {
		return err
	}
	return elector.Run(ctx)
}
