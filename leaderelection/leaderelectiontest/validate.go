package leaderelectiontest

import (
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var namespaceResource = corev1.Resource("namespaces")

// validate applies the validation rules of a real server.
func validate(lease *coordinationv1.Lease) error {
	problems := validation.ValidateObjectMeta(&lease.ObjectMeta, true, validation.NameIsDNSSubdomain, field.NewPath("metadata"))
	spec := field.NewPath("spec")
	if seconds := lease.Spec.LeaseDurationSeconds; seconds != nil && *seconds <= 0 {
		problems = append(problems, field.Invalid(spec.Child("leaseDurationSeconds"), *seconds, "must be greater than 0"))
	}
	if transitions := lease.Spec.LeaseTransitions; transitions != nil && *transitions < 0 {
		problems = append(problems, field.Invalid(spec.Child("leaseTransitions"), *transitions, "must be greater than or equal to 0"))
	}
	if holder := lease.Spec.PreferredHolder; holder != nil && *holder != "" && (lease.Spec.Strategy == nil || *lease.Spec.Strategy == "") {
		problems = append(problems, field.Forbidden(spec.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewInvalid(leaseKind, lease.Name, problems)
}

// invalidResourceVersion is the error for an update without a resourceVersion,
// because Leases do not allow unconditional updates.
func invalidResourceVersion(name string) error {
	kind := schema.GroupKind{Group: leaseResource.Group, Kind: leaseResource.Resource} // like a real server, with the resource as kind
	return apierrors.NewInvalid(kind, name, field.ErrorList{
		field.Invalid(field.NewPath("metadata").Child("resourceVersion"), 0, "must be specified for an update"),
	})
}
