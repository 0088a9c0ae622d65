package sharding

import (
	"context"
	"encoding/json"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// A store sends the requests for the table and for the members' Leases. Each method returns
// soon after its timeout.
type store struct {
	leases  coordinationclient.LeaseInterface
	group   string
	timeout time.Duration
	calls   *dispatch.Calls
}

// selector selects the Leases of a role. The coordinator's Lease belongs to the table, because
// its renewals show that a watch on the table works.
func (s store) selector(role string) string {
	roles := role
	if role == table.RoleTable {
		roles += "," + table.RoleCoordinator
	}
	return table.GroupLabel + "=" + s.group + "," + table.RoleLabel + " in (" + roles + ")"
}

func (s store) list(ctx context.Context, role string) (*coordinationv1.LeaseList, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	return dispatch.Call(ctx, s.calls, func(ctx context.Context) (*coordinationv1.LeaseList, error) {
		return s.leases.List(ctx, metav1.ListOptions{LabelSelector: s.selector(role)})
	}, nil)
}

func (s store) watch(role string) func(context.Context) (watch.Interface, error) {
	return func(ctx context.Context) (watch.Interface, error) {
		return dispatch.Call(ctx, s.calls, func(ctx context.Context) (watch.Interface, error) {
			return s.leases.Watch(ctx, metav1.ListOptions{LabelSelector: s.selector(role), AllowWatchBookmarks: true})
		}, watch.Interface.Stop)
	}
}

// one sends one request for a Lease.
func (s store) one(ctx context.Context, f func(context.Context) (*coordinationv1.Lease, error)) (*coordinationv1.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	l, err := dispatch.Call(ctx, s.calls, f, nil)
	if err == nil {
		err = lease.CheckVersion(l)
	}
	return l, err
}

func (s store) get(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	return s.one(ctx, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Get(ctx, name, metav1.GetOptions{})
	})
}

func (s store) create(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return s.one(ctx, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Create(ctx, l, metav1.CreateOptions{})
	})
}

// update replaces the version of the Lease that l was made from. The server refuses the
// write if the Lease has changed.
func (s store) update(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return s.one(ctx, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Update(ctx, l, metav1.UpdateOptions{})
	})
}

// delete deletes exactly the version l of a Lease.
func (s store) delete(ctx context.Context, l *coordinationv1.Lease) error {
	_, err := s.one(ctx, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return nil, s.leases.Delete(ctx, l.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &l.UID, ResourceVersion: &l.ResourceVersion}})
	})
	return err
}

// annotate sets one annotation of a Lease.
func (s store) annotate(ctx context.Context, name, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{key: value}}})
	if err != nil {
		return err
	}
	_, err = s.one(ctx, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{})
	})
	return err
}

func isGone(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, "UnexpectedServerResponse")
}
