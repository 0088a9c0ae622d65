package leaderelectiontest

import (
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	leaseResource = coordinationv1.Resource("leases")
	leaseKind     = coordinationv1.SchemeGroupVersion.WithKind("Lease").GroupKind()
)

// author identifies the client and the verb of a write.
type author struct{ client, verb string }

func (s *Server) getLocked(key types.NamespacedName) (*coordinationv1.Lease, error) {
	if lease := s.leases[key]; lease != nil {
		return lease, nil
	}
	return nil, apierrors.NewNotFound(leaseResource, key.Name)
}

func (s *Server) createLocked(by author, key types.NamespacedName, lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	if s.namespaces != nil && !s.namespaces[key.Namespace] {
		return nil, apierrors.NewNotFound(namespaceResource, key.Namespace)
	}
	lease = lease.DeepCopy()
	lease.Namespace, lease.Name = key.Namespace, key.Name
	lease.UID = uuid.NewUUID()
	lease.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
	lease.DeletionTimestamp, lease.DeletionGracePeriodSeconds = nil, nil
	lease.Generation = 0
	dropUngated(lease, nil)
	if err := validate(lease); err != nil {
		return nil, err
	}
	if s.leases[key] != nil {
		return nil, apierrors.NewAlreadyExists(leaseResource, key.Name)
	}
	return s.commitLocked(by, key, lease), nil
}

// updateLocked applies a PUT request. If the Lease exists, the PUT replaces the
// Lease. If the Lease does not exist, the PUT creates the Lease, and the
// resourceVersion in the request has no effect. If the request contains a UID
// that the stored Lease does not have, updateLocked returns a conflict.
func (s *Server) updateLocked(by author, key types.NamespacedName, lease *coordinationv1.Lease) (result *coordinationv1.Lease, created bool, err error) {
	old := s.leases[key]
	if err := checkUID(key, lease.UID, old); err != nil {
		return nil, false, err
	}
	if old == nil {
		result, err = s.createLocked(by, key, lease)
		return result, true, err
	}
	if lease.ResourceVersion == "" || lease.ResourceVersion == "0" {
		return nil, false, invalidResourceVersion(key.Name)
	}
	if lease.ResourceVersion != old.ResourceVersion {
		return nil, false, apierrors.NewConflict(leaseResource, key.Name,
			fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again"))
	}
	result, err = s.replaceLocked(by, key, lease, old)
	return result, false, err
}

// checkUID compares two UIDs: the UID in an update request (wanted) and the UID
// of the stored Lease (old). It returns a conflict if wanted is not empty and
// the UIDs differ. If the Lease does not exist, old is nil.
func checkUID(key types.NamespacedName, wanted types.UID, old *coordinationv1.Lease) error {
	var uid types.UID
	if old != nil {
		uid = old.UID
	}
	if wanted == "" || wanted == uid {
		return nil
	}
	return apierrors.NewConflict(leaseResource, key.Name,
		fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", wanted, uid))
}

func (s *Server) replaceLocked(by author, key types.NamespacedName, lease, old *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	lease = lease.DeepCopy()
	lease.Namespace, lease.Name = key.Namespace, key.Name
	lease.UID = old.UID
	lease.CreationTimestamp = old.CreationTimestamp
	lease.DeletionTimestamp, lease.DeletionGracePeriodSeconds = old.DeletionTimestamp, old.DeletionGracePeriodSeconds
	lease.Generation = old.Generation
	lease.ResourceVersion = old.ResourceVersion
	dropUngated(lease, old)
	if err := validate(lease); err != nil {
		return nil, err
	}
	if lease.DeletionTimestamp != nil && len(lease.Finalizers) == 0 {
		return s.removeLocked(by, key, lease), nil
	}
	if equality.Semantic.DeepEqual(lease, old) {
		return old, nil // an update without changes keeps the resourceVersion
	}
	return s.commitLocked(by, key, lease), nil
}

// dropUngated clears the fields strategy and preferredHolder of the parameter
// lease. A field is not cleared if the parameter old, the stored Lease, has a
// value in the field. A real API server does the same if the feature gate
// CoordinatedLeaderElection is off, which is the default.
func dropUngated(lease, old *coordinationv1.Lease) {
	if old == nil || old.Spec.Strategy == nil {
		lease.Spec.Strategy = nil
	}
	if old == nil || old.Spec.PreferredHolder == nil {
		lease.Spec.PreferredHolder = nil
	}
}

func (s *Server) deleteLocked(by author, key types.NamespacedName, options *metav1.DeleteOptions) (*coordinationv1.Lease, error) {
	old, err := s.getLocked(key)
	if err != nil {
		return nil, err
	}
	if p := options.Preconditions; p != nil {
		if p.UID != nil && *p.UID != old.UID {
			return nil, apierrors.NewConflict(leaseResource, key.Name,
				fmt.Errorf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, old.UID))
		}
		if p.ResourceVersion != nil && *p.ResourceVersion != old.ResourceVersion {
			return nil, apierrors.NewConflict(leaseResource, key.Name,
				fmt.Errorf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, old.ResourceVersion))
		}
	}
	if len(old.Finalizers) == 0 {
		return s.removeLocked(by, key, old), nil
	}
	if old.DeletionTimestamp != nil {
		return old, nil
	}
	doomed := old.DeepCopy()
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	doomed.DeletionTimestamp, doomed.DeletionGracePeriodSeconds = &now, new(int64)
	return s.commitLocked(by, key, doomed), nil
}

// commitLocked stores the Lease with the next resourceVersion. The caller must
// not modify the Lease afterwards.
func (s *Server) commitLocked(by author, key types.NamespacedName, lease *coordinationv1.Lease) *coordinationv1.Lease {
	s.revision++
	lease.ResourceVersion = strconv.FormatInt(s.revision, 10)
	s.recordLocked(by, key, lease, lease)
	s.leases[key] = lease
	s.wakeLocked()
	return lease
}

// removeLocked deletes a Lease. last is the Lease before the
// deletion. The deletion gets the next resourceVersion of the server. The
// DELETED event contains this resourceVersion.
func (s *Server) removeLocked(by author, key types.NamespacedName, last *coordinationv1.Lease) *coordinationv1.Lease {
	s.revision++
	last = last.DeepCopy()
	last.ResourceVersion = strconv.FormatInt(s.revision, 10)
	s.recordLocked(by, key, nil, last)
	delete(s.leases, key)
	s.wakeLocked()
	return last
}

// recordLocked adds a write to the events and to the history. The parameter
// current is the Lease after the write, or nil if the write deleted the Lease.
// object is the Lease in the watch event.
func (s *Server) recordLocked(by author, key types.NamespacedName, current, object *coordinationv1.Lease) {
	now := time.Now()
	before := s.leases[key]
	s.events = append(s.events, event{revision: s.revision, at: now, before: before, after: current, object: object})
	s.history = append(s.history, Write{
		Time: now, Client: by.client, Verb: by.verb, Namespace: key.Namespace, Name: key.Name,
		ResourceVersion: s.revision, Before: before, After: current,
	})
}

var namespaceResource = corev1.Resource("namespaces")

// validate checks a Lease with the validation rules of a real API server.
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

// invalidResourceVersion returns the error for an update without a
// resourceVersion. A real API server also returns this error.
func invalidResourceVersion(name string) error {
	kind := schema.GroupKind{Group: leaseResource.Group, Kind: leaseResource.Resource} // a real API server also puts the resource into the field Kind
	return apierrors.NewInvalid(kind, name, field.ErrorList{
		field.Invalid(field.NewPath("metadata").Child("resourceVersion"), 0, "must be specified for an update"),
	})
}
