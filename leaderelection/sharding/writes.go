package sharding

import (
	"context"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

func (c *coordinator) createSlab(ctx context.Context, n int, s *table.Slab) {
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Name: slabName(c.config.Name, n), Namespace: c.config.Namespace,
		Labels: map[string]string{table.GroupLabel: c.config.Name, table.RoleLabel: table.RoleTable},
	}}
	setSlab(l, s)
	created, err := c.store.create(ctx, l)
	if err != nil {
		c.reread(ctx, n)
		return
	}
	c.observeSlab(created, false)
}

func (c *coordinator) replaceSlab(ctx context.Context, n int, base *coordinationv1.Lease, s *table.Slab) {
	l := base.DeepCopy()
	setSlab(l, s)
	written, err := c.store.update(ctx, l)
	if err != nil {
		c.reread(ctx, n)
		return
	}
	c.observeSlab(written, false)
}

// reread reads slab n after a write that was refused or whose reply was lost.
func (c *coordinator) reread(ctx context.Context, n int) {
	l, err := c.store.get(ctx, slabName(c.config.Name, n))
	switch {
	case err == nil:
		c.observeSlab(l, false)
	case isGone(err):
		c.listTable(ctx)
	default:
		_ = clock.Sleep(ctx, nil, c.config.retryDelay())
	}
}
