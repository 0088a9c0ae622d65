package leaderelection

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// A store reads and writes one Lease. Only this file calls methods of a LeaseInterface.
// Each method returns soon after its context is done, even if the client ignores the
// context.
type store struct {
	leases coordinationclient.LeaseInterface
	name   string
	calls  *dispatch.Calls
}

// get returns the Lease. It returns nil if the Lease does not exist.
func (s store) get(ctx context.Context) (*coordinationv1.Lease, error) {
	lease, err := dispatch.Call(ctx, s.calls, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Get(ctx, s.name, metav1.GetOptions{})
	}, nil)
	if isAbsence(err) {
		return nil, nil
	}
	return checkReply(lease, err)
}

func (s store) create(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return checkReply(dispatch.Call(ctx, s.calls, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Create(ctx, lease, metav1.CreateOptions{})
	}, nil))
}

func (s store) update(ctx context.Context, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	return checkReply(dispatch.Call(ctx, s.calls, func(ctx context.Context) (*coordinationv1.Lease, error) {
		return s.leases.Update(ctx, lease, metav1.UpdateOptions{})
	}, nil))
}

// watch opens a watch on the store's Lease.
func (s store) watch(ctx context.Context) (watch.Interface, error) {
	return s.openWatch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + s.name})
}

// watchAll opens a watch on all Leases of the namespace.
func (s store) watchAll(ctx context.Context) (watch.Interface, error) {
	return s.openWatch(ctx, metav1.ListOptions{})
}

func (s store) openWatch(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return dispatch.Call(ctx, s.calls, func(ctx context.Context) (watch.Interface, error) { return s.leases.Watch(ctx, options) }, watch.Interface.Stop)
}

// A podStore reads and watches the pods of one namespace. Like a store, it returns soon
// after its context is done.
type podStore struct {
	pods  coreclient.PodInterface
	calls *dispatch.Calls
}

// get returns the pod with the given name. It returns nil if the pod does not exist.
func (s podStore) get(ctx context.Context, name string) (*corev1.Pod, error) {
	pod, err := dispatch.Call(ctx, s.calls, func(ctx context.Context) (*corev1.Pod, error) {
		return s.pods.Get(ctx, name, metav1.GetOptions{})
	}, nil)
	if err != nil {
		if isAbsence(err) {
			return nil, nil
		}
		return nil, err
	}
	return pod, nil
}

// watch opens a watch on the pod with the given name.
func (s podStore) watch(ctx context.Context, name string) (watch.Interface, error) {
	return dispatch.Call(ctx, s.calls, func(ctx context.Context) (watch.Interface, error) {
		return s.pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	}, watch.Interface.Stop)
}

// checkReply returns an error if the reply to a request is not usable.
func checkReply(lease *coordinationv1.Lease, err error) (*coordinationv1.Lease, error) {
	if err == nil && lease == nil {
		err = errors.New("leaderelection: the client returned neither a Lease nor an error")
	}
	if err == nil {
		err = leasestate.CheckVersion(lease)
	}
	if err != nil {
		return nil, err
	}
	return lease, nil
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
	case errors.Is(err, errUnexplainedConflict):
		return "unexplained_conflict"
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

// errUnexplainedConflict is the failure of writes that the server refuses as conflicts
// although nobody has changed the Lease.
var errUnexplainedConflict = errors.New("the API server refuses writes of the Lease as conflicts, although the Lease has not changed: " +
	"look for an admission webhook that answers 409, or for a proxy that answers reads from a cache")

// isPermanent reports whether err is a refusal that another try does not change.
// An admission webhook may answer with any status.
func isPermanent(err error) bool {
	switch code := statusCode(err); code {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	default:
		return code >= 400 && code < 500 || code == http.StatusNotImplemented
	}
}

// retryAfter returns how long the server wants the client to wait before the next
// request. It returns 0 if the server did not ask for a pause.
func retryAfter(err error) time.Duration {
	code := statusCode(err)
	if seconds, ok := apierrors.SuggestsClientDelay(err); ok && (code == http.StatusTooManyRequests || code >= 500) {
		return time.Duration(seconds) * time.Second
	}
	return 0
}

// A backoff detects that client-go waits before it repeats a request, because the
// server has answered with Retry-After. client-go does not report this. If a response
// has begun to arrive and the request has not returned, either client-go waits, or the
// rest of the response does not arrive. With HTTP/1.1, the connection becomes idle in the
// first case only.
type backoff struct {
	mu       sync.Mutex
	answered time.Time // when a response began to arrive; the zero Time if client-go has sent the request again
	complete bool      // true if the whole response has arrived
	resumed  time.Time // when client-go sent the request again; the zero Time if it did not
}

// trace returns a context for the request that b observes.
func (b *backoff) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if !b.answered.IsZero() {
				b.answered, b.complete, b.resumed = time.Time{}, false, time.Now()
			}
		},
		GotFirstResponseByte: func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.answered = time.Now()
		},
		PutIdleConn: func(err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.complete = err == nil
		},
	})
}

// mayOverlapAt returns when another request may overlap the observed request. timeout
// is how long the server may take to answer. longest is how long a response may take to
// arrive, so that one response that never arrives does not use up the trust window.
func (b *backoff) mayOverlapAt(now time.Time, timeout, longest time.Duration) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.complete:
		return now.Add(timeout)
	case !b.answered.IsZero():
		return b.answered.Add(longest)
	case !b.resumed.IsZero():
		return b.resumed.Add(timeout)
	default:
		return now
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
	code := statusCode(err)
	return code >= 400 && code < 500 && code != http.StatusRequestTimeout
}

// isUnclear reports whether err is an answer that does not show whether the write was
// applied. A server may apply a write and then answer with an internal error. If
// client-go then repeats the request, the server answers with a conflict.
func isUnclear(err error) bool {
	code := statusCode(err)
	return isConflict(err) || code >= 500 && code != http.StatusGatewayTimeout
}

// statusCode returns the HTTP status in err. It returns 0 if err contains no status.
func statusCode(err error) int {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return 0
	}
	return int(status.Status().Code)
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
