package fencing

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What follows is in CEL, the language of admission policies. A field that is
// missing is an error there, and an error refuses the write, unless what stands
// beside it in an "or" lets the write through.
//
// It is written so that the leader's next write of an object is asked the least: each
// step along a path has its price. Everything is written out where it is needed, for
// a variable costs more than what it stands for. Messages count too: the API server
// makes them for each write that it lets through. Whose write it is comes last, for
// the holder's own passes without that; as a match condition it would have the Lease
// converted once more.

// quote makes a CEL string of text in which there is nothing to escape, such as
// the names of Kubernetes.
func quote(text string) string { return "'" + text + "'" }

const (
	// boundTo is where the API server says to which pod a token is bound. It never
	// says that it is bound to one without a name.
	boundTo = "request.userInfo.?extra[?'authentication.kubernetes.io/pod-name'][?0]"
	holder  = "params.?spec.?holderIdentity.orValue('')"
	writer  = `'pod "' + ` + boundTo + `.orValue('none, its token is bound to no pod') + '"'`
)

// A test is what a write must pass, and what is said to one that does not. The short
// message is for when the other one cannot be made, because a name in it is too long
// or has line breaks.
type test struct{ expression, message, short string }

// validations are one rule, whatever the mode is: each rule and each message costs
// time of its own with every write.
func (f Fence) validations() []admissionv1.Validation {
	t := byPod()
	switch {
	case !f.has(ByPod):
		t = f.byTerm()
	case f.has(ByTerm):
		t = both(t, f.byTerm())
	}
	begin := "fenced off from lease " + f.lease() + ": "
	return []admissionv1.Validation{{
		Expression:        t.expression + " || request.userInfo.username != " + quote(f.user()),
		MessageExpression: quote(begin) + " + " + t.message,
		Message:           begin + t.short,
		Reason:            new(metav1.StatusReasonForbidden),
	}}
}

// byPod lets nothing but "_" follow the pod's name in the holder's: it is illegal in
// names of pods, so that web-1 is never taken for web-10 or web-1-x. A token that is
// bound to no pod is that of a line break, with which no Elector's identity begins.
func byPod() test {
	return test{
		"(" + holder + " + '_').startsWith(" + boundTo + `.orValue('\n') + '_')`,
		"(" + holder + ` == '' ? 'nobody holds it' : 'its holder is "' + ` + holder + ` + '"') + ', and the writer is ' + ` + writer,
		"another pod holds it",
	}
}

func (f Fence) byTerm() test {
	stamp, stored := f.stamp("object"), f.stamp("oldObject")
	t := test{
		"(" + hasToken(stamp) + " ? request.operation == 'CREATE' || !" + hasToken(stored) + " || " + tokenOf(stamp) + " >= " + tokenOf(stored) +
			" : " + unstamped(stored) + ")" + f.orUnstampable(),
		"(" + hasToken(stamp) + ` ? '` + laterTerm + `"' + ` + stored + ` + '", and the writer is in term "' + ` + stamp + ` + '": ' : '` + noToken + `: ') + ` + writer,
		laterTerm + "than the writer's, if that is in one",
	}
	if slices.Contains(f.Resources, pods) {
		t = ofBindings(t, stamp)
	}
	return test{f.keepsStamp() + " || " + t.expression, "(" + f.keepsStamp() + " ? '' : " + t.message + ")", t.short}
}

// keepsStamp is whether a write leaves the stamp that is stored as it is, as all of a
// term but the first one do. No stamp equals none, not even another one that is missing:
// what stands for it is no text. Without dyn the type check of policies would warn of that.
func (f Fence) keepsStamp() string {
	return f.annotationOf("object") + ".orValue(dyn(true)) == " + f.annotationOf("oldObject") + ".orValue(dyn(false))"
}

// ofBindings lets a Binding through if it carries no stamp: its annotations are put
// on the pod, whose stamp they would take back.
func ofBindings(others test, stamp string) test {
	const isBinding = "(request.kind.kind == 'Binding' && request.kind.group == '' ? "
	return test{
		isBinding + stamp + " == '' : " + others.expression + ")",
		isBinding + "'" + boundStamp + ": ' + " + writer + " : " + others.message + ")",
		others.short,
	}
}

// both is one test after the other.
func both(first, second test) test {
	return test{
		first.expression + " && (" + second.expression + ")",
		"(" + first.expression + " ? " + second.message + " : " + first.message + ")",
		first.short + ", or the object was written in a later term",
	}
}

// unstamped lets through a write of a subresource that carries no stamp, unless it
// takes one away: what is written as the status of a Deployment, or of another kind
// of Kubernetes' own, brings annotations with it.
func unstamped(stored string) string {
	return "request.?subResource.orValue('') != '' && (request.operation == 'CREATE' || !" + hasToken(stored) + ")"
}

// orUnstampable lets through what can carry no stamp. It comes last, for it is rare,
// and an error before it does not count. A policy that knows terms alone is not asked
// about that.
func (f Fence) orUnstampable() string {
	if !f.has(ByPod) {
		return ""
	}
	return " || !(request.operation in ['CREATE', 'UPDATE'])"
}

func (f Fence) stamp(object string) string { return f.annotationOf(object) + ".orValue('')" }

// annotationOf is none of an object that is not there yet.
func (f Fence) annotationOf(object string) string {
	return fmt.Sprintf("%s.?metadata.?annotations[?%s]", object, quote(AnnotationKey(f.lease())))
}

// hasToken says whether a stamp begins with a number. If not, somebody has edited
// it, and the next write mends it.
func hasToken(stamp string) string { return stamp + ".matches('^[1-9][0-9]{0,17}( |$)')" }

// tokenOf reads the number at the beginning of a stamp that has one.
func tokenOf(stamp string) string { return "int(" + stamp + ".split(' ', 2)[0])" }
