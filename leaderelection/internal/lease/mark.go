// Package lease is what this module writes into the annotations of a Lease: their
// names, and the history of recent terms.
package lease

// The names of the annotations.
const (
	SuccessorAnnotation = domain + "successor" // the follower that claims first when the Lease becomes free
	ReleasedAnnotation  = domain + "released"  // the work had stopped before the Lease was released
	TermsAnnotation     = domain + "terms"     // the recent terms, see History

	domain = "incumbent.haproxy-template-ic.github.io/"
)
