package leaderelection

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A release that is answered by a conflict is repeated by client-go without end.
func TestLock_NoRefusalIsAConflict(t *testing.T) {
	conflict := apierrors.NewConflict(coordinationv1.Resource("leases"), "app", errNotHeld)
	for _, err := range []error{errNotReleased, errAttemptOver, errNotHeld, errNotYet, errNoAnswer, errUnproven, opaque(conflict)} {
		if apierrors.IsConflict(err) {
			t.Errorf("%v is a conflict", err)
		}
	}
}
