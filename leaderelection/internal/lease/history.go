package lease

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The history is written with each claim and sent with each renewal, so it is short.
// The limits also hold for what others have written into the annotation.
const (
	maxTerms    = 8
	maxIdentity = 128       // bytes of an identity that are kept
	maxHistory  = 16 * 1024 // bytes; a longer annotation is ignored
)

// The ends of a term.
const (
	EndReleased    = "released"    // the Lease was released after the work had stopped
	EndUnannotated = "unannotated" // released without annotation: the work may have continued
	EndExpired     = "expired"     // the next leader found the Lease expired
)

// A Term is one entry of the history. Its times are by the clocks of the leaders that
// wrote them.
type Term struct {
	// Holder is the leader's identity, shortened if it is very long.
	Holder string `json:"holder"`

	// Acquired is when the Lease was claimed.
	Acquired metav1.MicroTime `json:"acquired"`

	// Renewed is the time of the last renewal or of the release. It is nil if it is
	// unknown or if the term continues.
	Renewed *metav1.MicroTime `json:"renewed,omitempty"`

	// End is EndReleased, EndUnannotated or EndExpired. It is "" if it is unknown or
	// if the term continues.
	End string `json:"end,omitempty"`
}

// History returns the recent terms in a Lease, oldest first. The present holder's term
// is always the last one, whatever the annotation contains.
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
		// A foreign candidate released the Lease and removed its own name.
	case known && terms[last].Holder == holder:
		terms[last].Renewed, terms[last].End = nil, ""
	default:
		terms = append(terms, Term{Holder: holder, Acquired: metav1.NewMicroTime(spec.AcquireTime.Time)})
	}
	return newest(terms)
}

// encodeHistory returns the annotation for a claim by holder of the Lease before.
func encodeHistory(before *coordinationv1.Lease, holder string, acquired time.Time) string {
	terms := History(before)
	if last := len(terms) - 1; last >= 0 && Holder(before) != "" && isValid(before.Spec.AcquireTime) {
		terms[last].Renewed, terms[last].End = validRenewTime(before), EndExpired
	}
	if at := metav1.NewMicroTime(acquired); isValid(&at) {
		terms = newest(append(terms, Term{Holder: shorten(holder), Acquired: at}))
	}
	text, err := json.Marshal(terms)
	if err != nil {
		return "[]" // no field of a Term can fail, and a claim must not
	}
	return string(text)
}

// decodeHistory returns the valid entries of the annotation.
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
		if t.End != EndReleased && t.End != EndUnannotated && t.End != EndExpired {
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
	return new(metav1.NewMicroTime(lease.Spec.RenewTime.Time))
}

// isValid reports whether a time can be encoded and decoded again.
func isValid(t *metav1.MicroTime) bool {
	return t != nil && t.Year() >= 1970 && t.Year() < 10000
}

// shorten returns the identity as valid UTF-8 of at most maxIdentity bytes.
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
