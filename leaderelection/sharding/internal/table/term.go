package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

const domain = "incumbent.haproxy-template-ic.github.io/"

// The labels of the Leases of a group.
const (
	GroupLabel      = domain + "group"      // the name of the group
	RoleLabel       = domain + "role"       // RoleCoordinator, RoleMember or RoleTable
	ProcessLabel    = domain + "process"    // a random number of the member's process
	GenerationLabel = domain + "generation" // the version of the member's program
	ZoneLabel       = domain + "zone"       // the zone of the member
	WeightLabel     = domain + "weight"     // the weight of the member
	LayoutLabel     = domain + "layout"     // the layout of the member's configuration, see Layout.Label
)

// The values of RoleLabel.
const (
	RoleCoordinator = "coordinator"
	RoleMember      = "member"
	RoleTable       = "table"
)

// The annotations of the Leases of a group.
const (
	// SealedAnnotation of a member's Lease contains the last term that a coordinator has
	// sealed. The term can never be trusted again.
	SealedAnnotation = domain + "sealed"
	// LeavingAnnotation of a member's Lease contains the term that gives up its shards.
	LeavingAnnotation = domain + "leaving"
	// SlabAnnotation of a table Lease contains the entries of its shards.
	SlabAnnotation = domain + "shards"
)

// A Term is one term of a member. A process never uses two terms with the same Acquired.
// Process distinguishes two processes that use the same name. The zero Term means nobody.
type Term struct {
	Member   string // the identity of the member
	Process  string // the value of ProcessLabel
	Acquired int64  // the acquireTime of the member's Lease, in microseconds
}

// IsZero reports whether t means nobody.
func (t Term) IsZero() bool { return t == Term{} }

// String returns the encoding of t in annotations.
func (t Term) String() string {
	if t.IsZero() {
		return ""
	}
	return t.Member + " " + t.Process + " " + strconv.FormatInt(t.Acquired, 10)
}

// ParseTerm decodes the result of Term.String.
func ParseTerm(text string) (Term, error) {
	if text == "" {
		return Term{}, nil
	}
	fields := strings.Split(text, " ")
	if len(fields) == 3 && fields[0] != "" {
		if acquired, err := strconv.ParseInt(fields[2], 10, 64); err == nil {
			return Term{fields[0], fields[1], acquired}, nil
		}
	}
	return Term{}, fmt.Errorf("term is invalid: %q, want a member, a process and a number", text)
}

// A MemberLease is what one observation of a member's Lease shows.
type MemberLease struct {
	Current Term   // the term that holds the Lease; zero if nobody holds it
	Ended   []Term // terms that the Lease names as ended; an empty Process stands for any process
}

// MemberLeaseOf returns what the Lease of the given member shows. The parameter l may be
// nil.
func MemberLeaseOf(member string, l *coordinationv1.Lease) (m MemberLease) {
	if l == nil {
		return m
	}
	var shown Term
	if l.Spec.AcquireTime != nil {
		shown = Term{member, l.Labels[ProcessLabel], l.Spec.AcquireTime.UnixMicro()}
	}
	switch {
	case lease.Holder(l) == member:
		m.Current = shown
	case lease.IsReleased(l):
		m.Ended = append(m.Ended, shown)
	}
	if sealed, err := ParseTerm(l.Annotations[SealedAnnotation]); err == nil && !sealed.IsZero() {
		m.Ended = append(m.Ended, sealed)
	}
	for _, t := range lease.History(l) {
		if t.Holder == member && (t.End == lease.EndReleased || t.End == lease.EndExpired) {
			m.Ended = append(m.Ended, Term{Member: member, Acquired: t.Acquired.UnixMicro()})
		}
	}
	return m
}

// Over reports whether the term t of this member can never be trusted again. A result
// of true stays true. There are three proofs:
//
//   - The Lease names t as ended: t was released or sealed, or another term began after
//     the Lease had expired.
//   - The same process holds the Lease in a later term. A process begins a term only after
//     the work of its last term has returned.
//   - waited is true. A read that was sent after t was observed in the table has shown a
//     Lease without t, and one LeaseDuration has passed since the reply. The Lease was
//     deleted or edited, so t could not be renewed since.
func (m MemberLease) Over(t Term, waited bool) bool {
	switch {
	case t.IsZero() || m.Current == t:
		return false
	case m.Current.Process == t.Process && m.Current.Acquired > t.Acquired:
		return true
	case slices.ContainsFunc(m.Ended, func(e Term) bool {
		return e.Member == t.Member && e.Acquired == t.Acquired && (e.Process == "" || e.Process == t.Process)
	}):
		return true
	default:
		return waited
	}
}
