package fencing

import (
	"errors"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
)

var (
	// ErrNoTerm is returned by a StampTransport for a write whose context carries no term.
	// Write with the context that was passed to the leader's work. Use a client without a
	// StampTransport for writes that followers also send.
	ErrNoTerm = errors.New("fencing: the context of the write carries no term")

	// ErrNotStampable is returned by a StampTransport for a write whose body it cannot
	// stamp, or whose path names no resource. The error also contains the reason.
	ErrNotStampable = errors.New("fencing: the write cannot be stamped with its term")
)

// IsStale reports whether err is, or wraps, the refusal of a write by the policy of a
// Fence. A policy refuses a write for one of three reasons: the writer does not lead,
// the API server has not observed yet that the writer leads, or the Lease does not
// exist. The text of the error names the Lease, its holder and the writer. If the Lease
// does not exist, the API server itself writes the text, which names only the policy.
// IsStale does not recognise the refusal of a connection (exec, attach, portforward),
// because that response is plain text.
func IsStale(err error) bool {
	if status, ok := err.(apierrors.APIStatus); ok { // checks err itself; the switch below unwraps err
		return isRefusal(status.Status().Message)
	}
	switch err := err.(type) { //nolint:errorlint // the cases unwrap err
	case interface{ Unwrap() error }:
		return IsStale(err.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(err.Unwrap(), IsStale)
	case utilerrors.Aggregate:
		return slices.ContainsFunc(err.Errors(), IsStale)
	}
	return false
}
