package fencing

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

var (
	// ErrNoTerm is returned for a write through a StampTransport whose context
	// carries no term. Write with the context that the work of the term was given, or
	// through another client what others than the leader write.
	ErrNoTerm = errors.New("fencing: the context of the write carries no term")

	// ErrNotStampable is returned for a write through a StampTransport in a form that
	// cannot be stamped. The error also says why.
	ErrNotStampable = errors.New("fencing: the write cannot be stamped with its term")
)

// IsStale reports whether err is the API server's refusal of a write by the policy
// of a Fence: the writer does not lead, or does not lead yet as far as that API
// server knows, or the Lease does not exist. The error's text names the Lease,
// its holder and the writer.
func IsStale(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && isRefusal(status.Status().Message)
}
