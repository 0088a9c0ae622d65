// Package mark is what this module writes into the annotations of a Lease: their
// names, and the history of recent terms.
package mark

// The names of the annotations.
const (
	Heir         = domain + "heir"     // the follower that claims first when the Lease becomes free
	ReleasedMark = domain + "released" // the work had stopped before the Lease was released
	Terms        = domain + "terms"    // the recent terms, see History

	domain = "incumbent.haproxy-template-ic.github.io/"
)
