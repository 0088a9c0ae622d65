package manager_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// This example is the complete main.go of an operator. An operator that uses only
// controller-runtime calls ctrl.NewManager instead of manager.New.
func Example() {
	ctrl.SetLogger(logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, nil)))
	if err := run(ctrl.SetupSignalHandler()); err != nil {
		ctrl.Log.Error(err, "Operator stopped", "leadershipLost", errors.Is(err, manager.ErrLeadershipLost))
		os.Exit(1) // also exit after a loss of leadership, because controllers cannot be started twice
	}
}

func run(ctx context.Context) error {
	mgr, err := manager.New(ctrl.GetConfigOrDie(), ctrl.Options{ // instead of ctrl.NewManager
		LeaderElection:         true,
		LeaderElectionID:       "configmap-operator",
		HealthProbeBindAddress: ":8081",
	}, manager.WithWriteGuard())
	if err != nil {
		return err
	}
	// The check also succeeds on followers, because a follower is ready to take over.
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	err = ctrl.NewControllerManagedBy(mgr).For(&corev1.ConfigMap{}).Complete(&reconciler{mgr.GetClient()})
	if err != nil {
		return err
	}
	return mgr.Start(ctx) // returns after SIGTERM, an error, or the loss of leadership
}

type reconciler struct{ client.Client }

func (r *reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var configMap corev1.ConfigMap
	if err := r.Get(ctx, req.NamespacedName, &configMap); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if configMap.Labels["seen"] == "true" {
		return ctrl.Result{}, nil
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"seen":"true"}}}`))
	return ctrl.Result{}, r.Patch(ctx, &configMap, patch) // the client refuses the write if this process no longer leads
}

// All replicas run this Manager, but only one replica at a time writes the report.
func ExampleLeaderOnly() {
	mgr, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{})
	if err != nil {
		panic(err)
	}
	config := &leaderelection.Config{Enabled: true, LeaseName: "reporter", ReleaseOnCancel: true}
	elector, err := manager.NewElector(mgr, config, leaderelection.Callbacks{})
	if err != nil {
		panic(err)
	}
	reporter := crmanager.RunnableFunc(func(ctx context.Context) error {
		log := leaderelection.LoggerFromContext(ctx)
		for {
			select {
			case <-ctx.Done(): // the term has ended; the Runnable is started again in the next term
				return nil
			case <-time.After(time.Minute):
				log.Info("Still leading", "for", elector.ValidFor())
			}
		}
	})
	if err := mgr.Add(manager.LeaderOnly(elector, reporter)); err != nil {
		panic(err)
	}
	if err := mgr.Start(ctrl.SetupSignalHandler()); err != nil {
		panic(err)
	}
}
