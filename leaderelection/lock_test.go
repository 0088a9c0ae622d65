package leaderelection

import (
	"sync"
	"testing"
	"testing/synctest"

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

// With -race the program crashed now and then, inside the race detector, when several
// renewals were due at one moment of fake time.
func TestPause_MakesNoTimerForATimeThatHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 20000 {
					if err := pause(t.Context(), nil, 0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	})
}
