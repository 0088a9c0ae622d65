package fencing

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What follows is in CEL, the language of admission policies. A field that is
// missing is an error there, and an error refuses the write.

// quote makes a CEL string of text in which there is nothing to escape, such as
// the names of Kubernetes.
func quote(text string) string { return "'" + text + "'" }

// podClaim is where the API server says to which pod a token is bound.
const podClaim = "authentication.kubernetes.io/pod-name"

func (f Fence) variables() []admissionv1.Variable {
	variables := []admissionv1.Variable{
		{Name: "pod", Expression: strings.ReplaceAll(
			"has(request.userInfo.extra) && CLAIM in request.userInfo.extra && size(request.userInfo.extra[CLAIM]) == 1 ? request.userInfo.extra[CLAIM][0] : ''",
			"CLAIM", quote(podClaim))},
		{Name: "writer", Expression: `variables.pod != '' ? 'pod "' + variables.pod + '"' : request.userInfo.username + ' with a token that is bound to no pod'`},
	}
	if f.has(ByPod) {
		variables = append(variables, admissionv1.Variable{
			Name: "holder", Expression: "has(params.spec) && has(params.spec.holderIdentity) ? params.spec.holderIdentity : ''",
		})
	}
	if f.has(ByTerm) {
		key := AnnotationKey(f.lease())
		variables = append(variables,
			admissionv1.Variable{Name: "stampable", Expression: "request.operation in ['CREATE', 'UPDATE'] && (!has(request.subResource) || request.subResource == '')"},
			admissionv1.Variable{Name: "stamp", Expression: "variables.stampable ? " + annotationOf("object", key) + " : ''"},
			admissionv1.Variable{Name: "stored", Expression: "variables.stampable && request.operation == 'UPDATE' ? " + annotationOf("oldObject", key) + " : ''"},
			admissionv1.Variable{Name: "token", Expression: tokenOf("variables.stamp")},
			admissionv1.Variable{Name: "storedToken", Expression: tokenOf("variables.stored")},
		)
	}
	return variables
}

func annotationOf(object, key string) string {
	return fmt.Sprintf("(has(%[1]s.metadata.annotations) && %[2]s in %[1]s.metadata.annotations ? %[1]s.metadata.annotations[%[2]s] : '')", object, quote(key))
}

// tokenOf reads the number at the beginning of a stamp. What is not one counts as
// 0: somebody has edited it, and the next write mends it.
func tokenOf(stamp string) string {
	return fmt.Sprintf("%[1]s.matches('^[0-9]{1,18}( |$)') ? int(%[1]s.split(' ', 2)[0]) : 0", stamp)
}

func (f Fence) validations() []admissionv1.Validation {
	var validations []admissionv1.Validation
	if f.has(ByPod) {
		// Nothing but "_" may follow the name: it is illegal in names of pods, so that
		// web-1 is never taken for web-10 or web-1-x.
		validations = append(validations, f.validation(
			"variables.pod != '' && (variables.holder == variables.pod || variables.holder.startsWith(variables.pod + '_'))",
			`(variables.holder == '' ? 'nobody holds it' : 'its holder is "' + variables.holder + '"') + ', and the writer is ' + variables.writer`,
			"another pod holds it",
		))
	}
	if f.has(ByTerm) {
		validations = append(validations,
			f.validation(
				"!variables.stampable || variables.token > 0",
				`'`+noToken+`, and the writer is ' + variables.writer`,
				noToken,
			),
			f.validation(
				"!variables.stampable || variables.token >= variables.storedToken",
				`'`+laterTerm+`"' + variables.stored + '", and the writer, ' + variables.writer + ', is in term "' + variables.stamp + '"'`,
				laterTerm+"than the writer's",
			))
	}
	return validations
}

// validation is one rule. The short message is for when the other one cannot be
// made, because a name in it is too long or has line breaks.
func (f Fence) validation(expression, message, short string) admissionv1.Validation {
	begin := "fenced off from lease " + f.lease() + ": "
	return admissionv1.Validation{
		Expression:        expression,
		MessageExpression: quote(begin) + " + " + message,
		Message:           begin + short,
		Reason:            new(metav1.StatusReasonForbidden),
	}
}
