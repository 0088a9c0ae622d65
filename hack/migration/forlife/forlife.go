// Package forlife is what the migration page says about operator-lib's leader for
// life, with operator-lib itself, in a module of its own: nobody else needs that.
package forlife

import (
	"context"
	"log/slog"

	"github.com/operator-framework/operator-lib/leader"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/hack/migration"
)

// before is where one comes from.
func before(ctx context.Context, work func(context.Context), options ...leader.Option) error {
	if err := leader.Become(ctx, "my-app-lock", options...); err != nil {
		return err
	}
	work(ctx)
	return nil
}

// between is the one release in which a replica leads only if both locks say so.
func between(ctx context.Context, clientset kubernetes.Interface, namespace, id string, work func(context.Context), options ...leader.Option) error {
	if err := leader.Become(ctx, "my-app-lock", options...); err != nil {
		return err
	}
	return migration.Instead(ctx, clientset, namespace, id, work, func() {}, slog.Default())
}
