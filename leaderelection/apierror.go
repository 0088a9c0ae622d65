package leaderelection

import (
	"context"
	"errors"
	"net"
	"net/url"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// kindOf sorts the errors of requests, "" if err is no trouble.
func kindOf(err error) string {
	var urlError *url.Error
	switch {
	case err == nil, apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return ""
	case apierrors.IsForbidden(err):
		return "forbidden"
	case apierrors.IsUnauthorized(err):
		return "unauthorized"
	case apierrors.IsNotFound(err):
		return "not found"
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return "refused as invalid"
	case apierrors.IsTooManyRequests(err):
		return "throttled"
	case errors.Is(err, context.DeadlineExceeded), apierrors.IsTimeout(err), apierrors.IsServerTimeout(err):
		return "no answer in time"
	case errors.As(err, &urlError):
		return "no connection"
	case apierrors.ReasonForError(err) != "":
		return "server error"
	default:
		return "other"
	}
}

// isRefusal reports whether err says that a write was not applied: by the server,
// or because it could not be reached at all.
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

// isAbsence reports whether err says that the Lease does not exist. A 404 that
// does not come from the API of Leases, a proxy's for instance, says nothing
// about it.
func isAbsence(err error) bool {
	return apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, "UnexpectedServerResponse")
}
