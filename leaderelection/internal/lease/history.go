package lease

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// These are the limits of the history, which is the content of TermsAnnotation. The
// history must be short, because each renewal sends it. A history that another program
// wrote may exceed the limits. Therefore the limits are also enforced when the
// annotation is read.
const (
	maxTerms    = 8
	maxIdentity = 128       // in bytes; a longer identity is shortened
	maxHistory  = 16 * 1024 // in bytes; a longer annotation is ignored
)

// The values of Term.End.
const (
	EndReleased    = "released"    // the Lease was released after the work had stopped
	EndUnannotated = "unannotated" // the Lease was released without ReleasedAnnotation; the work may have continued
	EndExpired     = "expired"     // the next leader found the Lease expired
	EndTerminated  = "terminated"  // the next leader had proof that the process had ended, see ProofOfDeath
)

// A Term is one entry of the history. All times come from the clock of the leader's
// machine.
type Term struct {
	// Holder is the leader's identity. An identity that is longer than maxIdentity is
	// shortened.
	Holder string `json:"holder"`

	// Acquired is when the Lease was claimed.
	Acquired metav1.MicroTime `json:"acquired"`

	// Renewed is the time of the release, or of the last renewal if the Lease was not
	// released. Renewed is nil if the time is unknown or if the term continues.
	Renewed *metav1.MicroTime `json:"renewed,omitempty"`

	// End is EndReleased, EndUnannotated, EndExpired or EndTerminated. End is "" if the
	// end is unknown or if the term continues.
	End string `json:"end,omitempty"`
}

// History returns the recent terms of a Lease, oldest first. If the Lease has a holder,
// the last entry is the holder's term, even if the annotation TermsAnnotation does not
// contain this term.
func History(lease *coordinationv1.Lease) []Term {
	terms := decodeHistory(lease.Annotations[TermsAnnotation])
	spec := lease.Spec
	if !isValid(spec.AcquireTime) {
		return terms
	}
	holder := shorten(Holder(lease))
	last := len(terms) - 1
	known := last >= 0 && terms[last].Acquired.UnixMicro() == spec.AcquireTime.UnixMicro()
	switch {
	case holder == "" && known:
		terms[last].Renewed, terms[last].End = validRenewTime(lease), EndUnannotated
		if IsReleased(lease) {
			terms[last].End = EndReleased
		}
	case holder == "":
		// The last leader did not use this library. The release removed the identity of
		// this leader from the Lease.
	case known && terms[last].Holder == holder:
		terms[last].Renewed, terms[last].End = nil, ""
	default:
		terms = append(terms, Term{Holder: holder, Acquired: metav1.NewMicroTime(spec.AcquireTime.Time)})
	}
	return newest(terms)
}

// encodeHistory returns the value of TermsAnnotation for the claim d. The parameter
// before is the Lease before the claim.
func encodeHistory(before *coordinationv1.Lease, d Draft) string {
	terms := History(before)
	if last := len(terms) - 1; last >= 0 && Holder(before) != "" && isValid(before.Spec.AcquireTime) {
		terms[last].Renewed, terms[last].End = validRenewTime(before), EndExpired
		if d.Terminated {
			terms[last].End = EndTerminated
		}
	}
	if at := metav1.NewMicroTime(d.Acquired); isValid(&at) {
		terms = newest(append(terms, Term{Holder: shorten(d.Holder), Acquired: at}))
	}
	text, err := json.Marshal(terms)
	if err != nil {
		return "[]" // json.Marshal does not fail for a Term
	}
	return string(text)
}

// decodeHistory returns the valid entries of text, the value of TermsAnnotation.
func decodeHistory(text string) []Term {
	var entries []json.RawMessage
	if len(text) > maxHistory || json.Unmarshal([]byte(text), &entries) != nil {
		return nil
	}
	var terms []Term
	for _, entry := range entries {
		var t Term
		if json.Unmarshal(entry, &t) != nil || t.Holder == "" || !isValid(&t.Acquired) {
			continue
		}
		if !isValid(t.Renewed) {
			t.Renewed = nil
		}
		if !slices.Contains([]string{EndReleased, EndUnannotated, EndExpired, EndTerminated}, t.End) {
			t.End = ""
		}
		t.Holder = shorten(t.Holder)
		terms = append(terms, t)
	}
	return newest(terms)
}

func newest(terms []Term) []Term { return terms[max(0, len(terms)-maxTerms):] }

func validRenewTime(lease *coordinationv1.Lease) *metav1.MicroTime {
	if !isValid(lease.Spec.RenewTime) {
		return nil
	}
	return ptr.To(metav1.NewMicroTime(lease.Spec.RenewTime.Time))
}

// isValid reports whether t can be encoded as JSON and decoded again.
func isValid(t *metav1.MicroTime) bool {
	return t != nil && t.Year() >= 1970 && t.Year() < 10000
}

// shorten returns identity as valid UTF-8, shortened to at most maxIdentity bytes.
func shorten(identity string) string {
	identity = strings.ToValidUTF8(identity, "\uFFFD")
	if len(identity) <= maxIdentity {
		return identity
	}
	const dots = "..."
	end := maxIdentity - len(dots)
	for !utf8.RuneStart(identity[end]) {
		end--
	}
	return identity[:end] + dots
}
