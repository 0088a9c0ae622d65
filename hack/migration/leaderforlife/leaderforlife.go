// Package leaderforlife contains the migration guide's code for programs that use "leader
// for life" of operator-lib. The package is a module of its own, because no other package
// needs operator-lib.
package leaderforlife

import (
	"context"
	"log/slog"

	"github.com/operator-framework/operator-lib/leader"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/hack/migration"
)

// runLeaderForLife elects a leader with operator-lib. It shows the code of a program
// before the migration.
func runLeaderForLife(ctx context.Context, work func(context.Context), options ...leader.Option) error {
	if err := leader.Become(ctx, "my-app-lock", options...); err != nil {
		return err
	}
	work(ctx)
	return nil
}

// runBothLocks shows the code of the intermediate release of a program. Earlier releases
// use only the ConfigMap of operator-lib, and later releases use only the Lease. In the
// intermediate release, a replica leads only if it holds both locks: the ConfigMap and
// the Lease.
func runBothLocks(ctx context.Context, clientset kubernetes.Interface, namespace, id string, work func(context.Context), options ...leader.Option) error {
	if err := leader.Become(ctx, "my-app-lock", options...); err != nil {
		return err
	}
	return migration.RunElector(ctx, clientset, namespace, id, work, func() {}, slog.Default())
}
