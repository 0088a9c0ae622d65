package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// Rights are what a service account may and may not do of what it needs.
type Rights struct {
	// At is when they were looked into.
	At time.Time `json:"at"`

	// Account was asked for, as namespace/name. Absent is whether there is no such
	// service account; its rights may have been given nevertheless.
	Account string `json:"account"`
	Absent  bool   `json:"absent,omitempty"`

	// Needs are what it wants to do.
	Needs []string `json:"needs"`

	// Missing says what it may not do, and what follows.
	Missing []string `json:"missing,omitempty"`

	// Problem says why that could not be found out.
	Problem string `json:"problem,omitempty"`
}

func needsOf(uses rights.Uses) []string {
	needs := []string{"campaign"}
	switch {
	case uses.WithoutWatch:
		needs[0] = "campaign without a watch"
	case uses.SharedWatch:
		needs[0] = "campaign with a shared watch"
	}
	if uses.Events {
		needs = append(needs, "record events")
	}
	if uses.Route {
		needs = append(needs, "label the leader's Pod")
	}
	return needs
}

// consequence says what follows if a right is missing. That a Lease cannot be made
// does not matter while there is one.
func consequence(right rights.Right, exists bool) string {
	switch {
	case !exists || right.Resource != "leases":
	case right.Verb == "create":
		return "it matters only if the Lease is deleted; then it cannot lead until somebody else has made it"
	case right.Verb == "get":
		return "it cannot lead without the right to watch the Lease, and it cannot find out what became of a lost reply"
	}
	return right.Without
}

func (r Rights) lines() []string {
	var lines []string
	if r.Absent {
		lines = append(lines, fmt.Sprintf("there is no service account %s: is its name right?", r.Account))
	}
	needs := strings.Join(r.Needs, ", ")
	switch {
	case r.Problem != "":
		return append(lines, r.Problem)
	case len(r.Missing) == 0:
		return append(lines, fmt.Sprintf("%s has all it needs to %s", r.Account, needs))
	}
	lines = append(lines, fmt.Sprintf("%s lacks rights to %s:", r.Account, needs))
	for _, missing := range r.Missing {
		lines = append(lines, "  "+missing)
	}
	return lines
}
