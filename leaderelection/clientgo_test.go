package leaderelection

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// client-go repeats a release forever if the error of the release is a conflict.
func TestEngineDriver_NoErrorIsAConflict(t *testing.T) {
	conflict := apierrors.NewConflict(coordinationv1.Resource("leases"), "app", errNotHeld)
	for _, err := range []error{errNotReleased, errAttemptOver, errNotHeld, errNotYet, errNoAnswer, errUnconfirmed, opaque(conflict)} {
		if apierrors.IsConflict(err) {
			t.Errorf("%v is a conflict", err)
		}
	}
}
