package fencing

import (
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

var (
	// ErrNoTerm is returned for a write through a StampTransport whose context
	// carries no term. Write with the context that was passed to the leader's work. Use
	// another client for writes that not only the leader sends.
	ErrNoTerm = errors.New("fencing: the context of the write carries no term")

	// ErrNotStampable is returned for a write through a StampTransport if its body
	// cannot be stamped, or if its path names no resource. The error also contains the
	// reason.
	ErrNotStampable = errors.New("fencing: the write cannot be stamped with its term")
)

// IsStale reports whether err is, or wraps, the refusal of a write by the policy of a
// Fence. The writer does not lead, the API server has not observed yet that it leads,
// or the Lease does not exist. The error's text names the Lease, its holder and the
// writer. If the API server has no Lease, the text is the API server's own, and names
// only the policy. IsStale does not recognise the refusal of a connection (exec,
// attach, portforward), because that is plain text.
func IsStale(err error) bool {
	if status, ok := err.(apierrors.APIStatus); ok { // wrapped errors are visited below
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
