package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// Rights describes which rights a service account lacks to take part in an election.
type Rights struct {
	// Time is when the rights were checked.
	Time time.Time `json:"time"`

	// ServiceAccount is the account, as namespace/name. ServiceAccountMissing is true
	// if the API server responds that the account does not exist. Such an account may
	// have rights, because a RoleBinding can name an account that does not exist.
	ServiceAccount        string `json:"serviceAccount"`
	ServiceAccountMissing bool   `json:"serviceAccountMissing,omitempty"`

	// Uses describes how the program uses the election.
	Uses []string `json:"uses"`

	// Missing contains one text for each right that the account lacks. The text
	// includes what happens without the right.
	Missing []string `json:"missing,omitempty"`

	// Error is the reason why the rights could not be checked. It is "" if the rights
	// were checked.
	Error string `json:"error,omitempty"`
}

func describeUses(uses rights.Uses) []string {
	described := []string{"campaign"}
	switch {
	case uses.WithoutWatch:
		described[0] = "campaign without a watch"
	case uses.SharedWatch:
		described[0] = "campaign with a shared watch"
	}
	if uses.Events {
		described = append(described, "record events")
	}
	if uses.Route {
		described = append(described, "label the leader's Pod")
	}
	if uses.ProofOfDeath {
		described = append(described, "read the leader's Pod after a crash")
	}
	return described
}

// consequence describes what happens if a right is missing. exists is
// true if the Lease exists.
func consequence(right rights.Right, exists bool) string {
	switch {
	case !exists || right.Resource != "leases":
	case right.Verb == "create":
		return "it matters only if the Lease is deleted; then the program cannot lead until somebody else has created it"
	case right.Verb == "get":
		return "it cannot lead without the right to watch the Lease, and it cannot find out whether a write without a reply was stored"
	}
	return right.Without
}

func (r Rights) lines() []string {
	var lines []string
	if r.ServiceAccountMissing {
		lines = append(lines, fmt.Sprintf("there is no service account %s: check the name", r.ServiceAccount))
	}
	uses := strings.Join(r.Uses, ", ")
	switch {
	case r.Error != "":
		return append(lines, r.Error)
	case len(r.Missing) == 0:
		return append(lines, fmt.Sprintf("%s has all rights to %s", r.ServiceAccount, uses))
	}
	lines = append(lines, fmt.Sprintf("%s lacks rights to %s:", r.ServiceAccount, uses))
	for _, missing := range r.Missing {
		lines = append(lines, "  "+missing)
	}
	return lines
}
