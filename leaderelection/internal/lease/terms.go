package lease

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The history is written with each claim and travels with each renewal, so it is
// short. Whatever others wrote there, no more than this comes out of it again.
const (
	maxTerms    = 8
	maxIdentity = 128        // bytes of an identity that are kept
	maxRead     = 16 * 1024  // bytes: a longer annotation is not ours, and not looked into
	maxOthers   = 200 * 1024 // bytes of other annotations beside which it is written
)

// How a term ended.
const (
	EndReleased    = "released"    // its work had stopped
	EndUnannotated = "unannotated" // without our mark: the work may have gone on
	EndExpired     = "expired"     // the next leader found it run out
)

// A Term is one entry of the history. Its times are by the clocks of those who
// wrote them.
type Term struct {
	// Holder is the leader's identity, cut if it is very long.
	Holder string `json:"holder"`

	// Acquired is when the Lease was claimed.
	Acquired metav1.MicroTime `json:"acquired"`

	// Renewed is when it was renewed last or released, nil if that is not known, or
	// if the term goes on.
	Renewed *metav1.MicroTime `json:"renewed,omitempty"`

	// End is how it ended, "" if that is not known, or if the term goes on.
	End string `json:"end,omitempty"`
}

// History is what the Lease tells of recent terms, oldest first. If somebody holds
// it, his term is the last one, whoever he is and whatever the annotation says.
func History(lease *coordinationv1.Lease) []Term {
	terms := read(lease.Annotations[TermsAnnotation])
	spec := lease.Spec
	if !sensible(spec.AcquireTime) {
		return terms
	}
	holder := ""
	if spec.HolderIdentity != nil {
		holder = cut(*spec.HolderIdentity)
	}
	last := len(terms) - 1
	known := last >= 0 && terms[last].Acquired.UnixMicro() == spec.AcquireTime.UnixMicro()
	switch {
	case holder == "" && known:
		terms[last].Renewed, terms[last].End = renewed(lease), EndUnannotated
		if IsReleased(lease) {
			terms[last].End = EndReleased
		}
	case holder == "":
		// Freed by somebody else, whose name went with it.
	case known && terms[last].Holder == holder:
		terms[last].Renewed, terms[last].End = nil, ""
	default:
		terms = append(terms, Term{Holder: holder, Acquired: metav1.NewMicroTime(spec.AcquireTime.Time)})
	}
	return newest(terms)
}

// Note writes the history into a Lease that holder claims, and that was like before
// until then. There must be room.
func RecordTerm(lease, before *coordinationv1.Lease, holder string, acquired time.Time) {
	lease.Annotations[TermsAnnotation] = inscribe(before, holder, acquired)
}

// HasRoom reports whether a Lease has room for our annotations: the API server bounds
// what all annotations of an object have together, and refuses a write beyond that.
func HasRoom(lease *coordinationv1.Lease) bool {
	others := 0
	for key, value := range lease.Annotations {
		if key != TermsAnnotation {
			others += len(key) + len(value)
		}
	}
	return others <= maxOthers
}

func inscribe(before *coordinationv1.Lease, holder string, acquired time.Time) string {
	terms := History(before)
	if last := len(terms) - 1; last >= 0 && before.Spec.HolderIdentity != nil && *before.Spec.HolderIdentity != "" &&
		sensible(before.Spec.AcquireTime) {
		terms[last].Renewed, terms[last].End = renewed(before), EndExpired
	}
	if at := metav1.NewMicroTime(acquired); sensible(&at) {
		terms = newest(append(terms, Term{Holder: cut(holder), Acquired: at}))
	}
	text, err := json.Marshal(terms)
	if err != nil {
		return "[]" // nothing in a Term can fail, and a claim must not
	}
	return string(text)
}

// IsReleased reports whether a Lease was freed by one of our electors, its work
// having stopped before. The mark carries the renewTime of the releasing write:
// one that was left behind marks nothing.
func IsReleased(lease *coordinationv1.Lease) bool {
	mark, ok := lease.Annotations[ReleasedAnnotation]
	free := lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == ""
	return ok && free && lease.Spec.RenewTime != nil && mark == strconv.FormatInt(lease.Spec.RenewTime.UnixMicro(), 10)
}

// read takes from the annotation what makes sense.
func read(text string) []Term {
	var written []json.RawMessage
	if len(text) > maxRead || json.Unmarshal([]byte(text), &written) != nil {
		return nil
	}
	var terms []Term
	for _, entry := range written {
		var t Term
		if json.Unmarshal(entry, &t) != nil || t.Holder == "" || !sensible(&t.Acquired) {
			continue
		}
		if !sensible(t.Renewed) {
			t.Renewed = nil
		}
		if t.End != EndReleased && t.End != EndUnannotated && t.End != EndExpired {
			t.End = ""
		}
		t.Holder = cut(t.Holder)
		terms = append(terms, t)
	}
	return newest(terms)
}

func newest(terms []Term) []Term { return terms[max(0, len(terms)-maxTerms):] }

func renewed(lease *coordinationv1.Lease) *metav1.MicroTime {
	if !sensible(lease.Spec.RenewTime) {
		return nil
	}
	return new(metav1.NewMicroTime(lease.Spec.RenewTime.Time))
}

// sensible times can be written and read again.
func sensible(t *metav1.MicroTime) bool {
	return t != nil && t.Year() >= 1970 && t.Year() < 10000
}

// cut shortens an identity that is longer than any sensible one.
func cut(identity string) string {
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
