package migration

import (
	"context"
	"log/slog"

	"k8s.io/client-go/kubernetes"
)

// forLife is the package leader of operator-lib, as far as it matters here: Become
// blocks until this pod leads, and then it leads until it is deleted.
type forLife interface {
	Become(ctx context.Context, lockName string) error
}

// between is the one release in which a replica leads only if both say so.
func between(ctx context.Context, leader forLife, clientset kubernetes.Interface, namespace, id string, work func(context.Context)) error {
	if err := leader.Become(ctx, "my-app-lock"); err != nil {
		return err
	}
	return instead(ctx, clientset, namespace, id, work, func() {}, slog.Default())
}
