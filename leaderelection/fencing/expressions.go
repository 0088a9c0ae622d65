package fencing

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The functions in this file return expressions in CEL, the language of admission
// policies. In CEL a missing field is an error. An error refuses the write, unless the
// other operand of an "or" is true.
//
// The expressions are optimised for the leader's second write of an object in a term.
// Each step along a path costs time. No variables are used, because a variable costs
// more than a repeated expression. Messages cost time too, because the API server
// evaluates them even if the write passes. The user is compared last, because the
// holder's own write passes before that. As a match condition, that comparison would
// convert the Lease once more.

// quote returns text as a CEL string. The text needs no escaping, as for all names in
// Kubernetes.
func quote(text string) string { return "'" + text + "'" }

const (
	// boundTo is the name of the pod that the user's token is bound to. It is missing
	// or not empty.
	boundTo = "request.userInfo.?extra[?'authentication.kubernetes.io/pod-name'][?0]"
	holder  = "params.?spec.?holderIdentity.orValue('')"
	writer  = `'pod "' + ` + boundTo + `.orValue('none, its token is bound to no pod') + '"'`
)

// A test has an expression that is true if a write passes, and the message of its
// refusal, which is an expression too. The short message replaces a message that the
// API server rejects, because a name in it is too long or has line breaks.
type test struct{ expression, message, short string }

// validations returns a single validation for every mode, because each validation and
// each message costs time with every write.
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

// byPod requires the holder to be the pod's name, or that name followed by "_". The
// name of a pod has no "_", so web-1 does not match web-10 or web-1-x. A token that is
// bound to no pod is treated as that of a pod named "\n", because no Elector's identity
// begins with a line break.
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

// keepsStamp is true if a write does not change the stored stamp, as every write of an
// object in a term except the first. A missing stamp equals nothing, because true and
// false stand for missing stamps. dyn avoids a warning of the policy's type check.
func (f Fence) keepsStamp() string {
	return f.annotationOf("object") + ".orValue(dyn(true)) == " + f.annotationOf("oldObject") + ".orValue(dyn(false))"
}

// ofBindings permits a Binding only without a stamp. The API server copies its
// annotations to the pod, so an older stamp would replace the pod's.
func ofBindings(others test, stamp string) test {
	const isBinding = "(request.kind.kind == 'Binding' && request.kind.group == '' ? "
	return test{
		isBinding + stamp + " == '' : " + others.expression + ")",
		isBinding + "'" + boundStamp + ": ' + " + writer + " : " + others.message + ")",
		others.short,
	}
}

// both requires two tests, in that order.
func both(first, second test) test {
	return test{
		first.expression + " && (" + second.expression + ")",
		"(" + first.expression + " ? " + second.message + " : " + first.message + ")",
		first.short + ", or the object was written in a later term",
	}
}

// unstamped permits a write of a subresource without a stamp, unless it removes the
// stored stamp. The status of a Deployment and of most other kinds of Kubernetes is
// written with the object's annotations.
func unstamped(stored string) string {
	return "request.?subResource.orValue('') != '' && (request.operation == 'CREATE' || !" + hasToken(stored) + ")"
}

// orUnstampable permits requests that cannot carry a stamp. It comes last, because such
// requests are rare, and an error before it has no effect. A policy ByTerm alone does
// not match such requests.
func (f Fence) orUnstampable() string {
	if !f.has(ByPod) {
		return ""
	}
	return " || !(request.operation in ['CREATE', 'UPDATE'])"
}

func (f Fence) stamp(object string) string { return f.annotationOf(object) + ".orValue('')" }

// annotationOf returns an optional value, which is empty if the object does not exist.
func (f Fence) annotationOf(object string) string {
	return fmt.Sprintf("%s.?metadata.?annotations[?%s]", object, quote(AnnotationKey(f.lease())))
}

// hasToken is true if a stamp begins with a number. If it does not, the annotation was
// edited by hand, and the next write replaces it.
func hasToken(stamp string) string { return stamp + ".matches('^[1-9][0-9]{0,17}( |$)')" }

// tokenOf returns the number at the beginning of a stamp.
func tokenOf(stamp string) string { return "int(" + stamp + ".split(' ', 2)[0])" }
