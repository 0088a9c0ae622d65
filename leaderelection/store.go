package leaderelection

import (
	"context"
	"errors"
	"net"
	"net/url"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

// A store reads and writes one Lease. Only this file calls methods of a LeaseInterface.
type store struct {
	leases coordinationclient.LeaseInterface
	name   string
}

// The method get returns the Lease. It returns nil if the Lease does not exist.
func (s store) get(ctx context.Context) (*coordinationv1.Lease, error) {
	lease, err := s.leases.Get(ctx, s.name, metav1.GetOptions{})
	if isAbsence(err) {
		return nil, nil
	}
	return lease, err
}

func (s store) create(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return checkReply(s.leases.Create(ctx, lease, metav1.CreateOptions{}))
}

func (s store) update(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return checkReply(s.leases.Update(ctx, lease, metav1.UpdateOptions{}))
}

// watch opens a watch on the store's Lease.
func (s store) watch(ctx context.Context) (watch.Interface, error) {
	return s.leases.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
}

// watchAll opens a watch on all Leases of the namespace.
func (s store) watchAll(ctx context.Context) (watch.Interface, error) {
	return s.leases.Watch(ctx, metav1.ListOptions{})
}

func checkReply(lease *coordinationv1.Lease, err error) (*coordinationv1.Lease, error) {
	if err == nil && lease == nil {
		return nil, errors.New("leaderelection: the client returned neither a Lease nor an error")
	}
	return lease, err
}

// errorKind returns the kind of a request's error, such as "forbidden". It returns ""
// if err is nil or a conflict, because conflicts are normal in an election.
func errorKind(err error) string {
	var urlError *url.Error
	switch {
	case err == nil, isConflict(err):
		return ""
	case apierrors.IsForbidden(err):
		return "forbidden"
	case apierrors.IsUnauthorized(err):
		return "unauthorized"
	case apierrors.IsNotFound(err):
		return "not_found"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return "refused_as_invalid"
	case apierrors.IsTooManyRequests(err):
		return "throttled"
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return "no_answer_in_time"
	case errors.As(err, &urlError):
		return "no_connection"
	case apierrors.ReasonForError(err) != "":
		return "server_error"
	default:
		return "other"
	}
}

// isConflict reports whether a write was refused because the Lease was changed or
// created by another write.
func isConflict(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)
}

// isRefusal reports whether err means that a write was not applied. Either the server
// refused the write, or no connection could be opened.
func isRefusal(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	code := status.Status().Code
	return code >= 400 && code < 500 && code != 408
}

// isAbsence reports whether err means that the Lease does not exist. It returns false
// if the error 404 does not come from the Kubernetes API, but for example from a proxy.
func isAbsence(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, "UnexpectedServerResponse")
}

// isWatchForbidden reports whether err means that this client may not watch the Lease.
func isWatchForbidden(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err)
}
