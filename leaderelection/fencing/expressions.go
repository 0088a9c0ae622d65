package fencing

import (
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// The functions in this file return expressions in CEL, the language of admission
// policies. In CEL, access to a missing field is an error. An error of the whole
// expression refuses the write. But "a || b" is true if one operand is true, even if
// the other operand is an error.
//
// The expressions are fast for the most frequent write: the leader writes an object
// that it has already written in this term. Each access to a field costs time.
// Variables are not used, because a variable costs more than a repeated expression.
// Messages also cost time, because the API server evaluates them even if the write
// passes. The user is compared in the last operand of an "or". CEL skips this operand
// for the leader's writes. The policy has no match condition for the user, because with
// a match condition the API server would convert the Lease a second time.

// quote returns text as a CEL string. It does not escape the text, because names in
// Kubernetes contain no quotes and no backslashes.
func quote(text string) string { return "'" + text + "'" }

const (
	// boundTo is an expression for the name of the pod that the writer's token is bound
	// to. The result is a CEL optional, which has no value if the token is bound to no
	// pod. The result is never an empty string.
	boundTo = "request.userInfo.?extra[?'authentication.kubernetes.io/pod-name'][?0]"
	holder  = "params.?spec.?holderIdentity.orValue('')"
	writer  = `'pod "' + ` + boundTo + `.orValue('none, its token is bound to no pod') + '"'`
)

// A test decides whether a write passes. expression is a CEL expression that
// is true if the write passes. message is a CEL expression for the text of
// the refusal. short is a fixed text. The API server uses the fixed text if
// the text of message is too long or has line breaks.
type test struct{ expression, message, short string }

// validations returns one validation, even if the Fence has both modes. Several
// validations would cost more time, because the API server evaluates each validation
// and each message for every write.
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
		Reason:            ptr.To(metav1.StatusReasonForbidden),
	}}
}

// byPod returns the test for the mode ByPod. The holder of the Lease must be the name
// of the writer's pod, or begin with that name and "_". A pod's name contains no "_",
// so pod web-1 does not match the holders web-10 and web-1-x. If the writer's token is
// bound to no pod, the expression uses the pod name "\n". The write is then refused,
// because no Elector's identity begins with a line break.
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
		"(" + hasToken(stamp) + " ? request.operation == 'CREATE' || " + notLower(tokenOf(stamp), tokenOf(stored)) +
			" : " + unstamped(stored) + ")" + f.orUnstampable(),
		"(" + hasToken(stamp) + ` ? '` + laterTerm + `"' + ` + stored + ` + '", and the writer is in term "' + ` + stamp + ` + '": ' : '` + noToken + `: ') + ` + writer,
		laterTerm + "than the writer's, if that is in one",
	}
	if slices.Contains(f.Resources, pods) {
		t = ofBindings(t, stamp)
	}
	return test{f.keepsStamp() + " || " + t.expression, "(" + f.keepsStamp() + " ? '' : " + t.message + ")", t.short}
}

// keepsStamp returns an expression that is true if a write leaves the stored stamp
// unchanged. In each term, every write of an object except the first one leaves the
// stamp unchanged. The expression compares the new stamp with the stored stamp. A
// missing new stamp counts as true, and a missing stored stamp counts as false.
// Therefore the two are never equal if a stamp is missing. dyn avoids a
// warning of the API server's type check.
func (f Fence) keepsStamp() string {
	return f.annotationOf("object") + ".orValue(dyn(true)) == " + f.annotationOf("oldObject") + ".orValue(dyn(false))"
}

// ofBindings returns a test that permits a Binding only if the Binding has no stamp.
// For every other kind of object, the returned test equals the parameter others.
// Bindings need their own test, because the API server copies the annotations of a
// Binding to the pod. Therefore the stamp of a Binding could replace a later stamp of
// the pod.
func ofBindings(others test, stamp string) test {
	const isBinding = "(request.kind.kind == 'Binding' && request.kind.group == '' ? "
	return test{
		isBinding + stamp + " == '' : " + others.expression + ")",
		isBinding + "'" + boundStamp + ": ' + " + writer + " : " + others.message + ")",
		others.short,
	}
}

// both returns a test that combines two tests. A write passes the returned test only
// if it passes both tests. The test in the parameter first is evaluated first.
func both(first, second test) test {
	return test{
		first.expression + " && (" + second.expression + ")",
		"(" + first.expression + " ? " + second.message + " : " + first.message + ")",
		first.short + ", or the object was written in a later term",
	}
}

// unstamped returns an expression for a write without a stamp. It is true if the write
// is to a subresource and does not remove the stored stamp. For most kinds of
// Kubernetes, such as Deployments, a write of the status also writes the object's
// annotations. Therefore such a write can remove the stamp.
func unstamped(stored string) string {
	return "request.?subResource.orValue('') != '' && (request.operation == 'CREATE' || !" + hasToken(stored) + ")"
}

// orUnstampable returns an "or" and its last operand, which permits requests that
// cannot carry a stamp. The operand is the last one, because such requests are rare.
// The operands before it may be errors for such a request. CEL ignores these errors,
// because the last operand is true. For a Fence with the mode ByTerm alone,
// orUnstampable returns "". The policy of such a Fence does not select these requests.
func (f Fence) orUnstampable() string {
	if !f.has(ByPod) {
		return ""
	}
	return " || !(request.operation in ['CREATE', 'UPDATE'])"
}

func (f Fence) stamp(object string) string { return f.annotationOf(object) + ".orValue('')" }

// annotationOf returns an expression for the stamp of an object. The parameter object
// is the name of a CEL variable, "object" or "oldObject". The result is a CEL optional,
// which has no value if the object or the annotation does not exist.
func (f Fence) annotationOf(object string) string {
	return fmt.Sprintf("%s.?metadata.?annotations[?%s]", object, quote(AnnotationKey(f.lease())))
}

// hasToken returns an expression that is true if the stamp begins with a token.
func hasToken(stamp string) string { return "(" + tokenOf(stamp) + " != '')" }

// tokenOf returns an expression for the token at the beginning of the stamp, followed by
// a space. A token is a positive decimal number of any length, without leading zeros. If
// the stamp begins with other text, it was edited by hand, and the expression is an empty
// string.
func tokenOf(stamp string) string { return "(" + stamp + " + ' ').find('^[1-9][0-9]* ')" }

// notLower returns an expression that is true if the token is not lower than the stored
// token. The expression compares texts, because an integer in CEL has at most 19 digits.
// The longer token is the greater one. If the stored stamp has no token, the expression
// is true.
func notLower(token, stored string) string {
	return "size(" + token + ") > size(" + stored + ") || size(" + token + ") == size(" + stored + ") && " + token + " >= " + stored
}
