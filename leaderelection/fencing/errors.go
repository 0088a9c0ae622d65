package fencing

import (
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

var (
	// ErrNoTerm is returned for a write through a StampTransport whose context
	// carries no term. Write with the context that the work of the term was given, or
	// through another client what others than the leader write.
	ErrNoTerm = errors.New("fencing: the context of the write carries no term")

	// ErrNotStampable is returned for a write through a StampTransport in a form that
	// cannot be stamped, or to a path in which no resource is found. The error also
	// says why.
	ErrNotStampable = errors.New("fencing: the write cannot be stamped with its term")
)

// IsStale reports whether err is, or wraps among others, the API server's refusal of
// a write by the policy of a Fence: the writer does not lead, or does not lead yet as
// far as that API server knows, or the Lease does not exist. The error's text names
// the Lease, its holder and the writer. Of a Lease that does not exist, or that an API
// server has not read yet, the API server has words of its own: they name the policy,
// and so the Lease unless the Fence was given a Name. A refused connection (exec,
// attach, portforward) comes back as plain text, which it does not know.
func IsStale(err error) bool {
	if status, ok := err.(apierrors.APIStatus); ok { // the tree is walked below
		return isRefusal(status.Status().Message)
	}
	switch err := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		return IsStale(err.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), IsStale)
	case utilerrors.Aggregate:
		return slices.ContainsFunc(err.Errors(), IsStale)
	}
	return false
}
