package fencing

import (
	"errors"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// IsStale reports whether err is the API server's refusal of a write by the policy
// of a Fence: the writer does not lead, or does not lead yet as far as that API
// server knows, or the Lease does not exist. The error's text names the Lease,
// its holder and the writer.
func IsStale(err error) bool {
	var status apierrors.APIStatus
	return errors.As(err, &status) && isRefusal(status.Status().Message)
}

// isRefusal knows the API server's words for what a policy of ours has refused.
func isRefusal(message string) bool {
	return strings.Contains(message, "ValidatingAdmissionPolicy '"+policyPrefix)
}
