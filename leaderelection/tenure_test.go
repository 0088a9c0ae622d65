package leaderelection

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/kubernetes/fake"
)

// The reply to a renewal may be read before the timer that ends the term fires,
// though trust has run out: IsLeader has already said so, and others may claim.
func TestTenure_TrustThatHasRunOutDoesNotComeBack(t *testing.T) {
	for late, leads := range map[time.Duration]bool{-1: true, 0: false, time.Second: false} {
		synctest.Test(t, func(t *testing.T) {
			c := Config{Enabled: true, Identity: "me", LeaseName: "app", LeaseNamespace: "ns"}
			e, err := New(&c, fake.NewClientset(), Callbacks{OnStartedLeading: func(context.Context) {}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			claim := write{kind: claiming, renewed: at(1).UnixMicro(), base: 49, sent: stampNow()}
			renewal := write{kind: renewing, renewed: at(2).UnixMicro(), base: 50}
			e.mu.Lock()
			e.beginTenureLocked(claim, record("a", 50, "me", 1))
			e.mu.Unlock()
			w := e.startWork(t.Context(), Term{Token: 50}, e.tenure)
			defer e.endWork(ErrSteppedDown)

			time.Sleep(e.config.Window() / 2)
			renewal.sent = stampNow()
			time.Sleep(e.config.Window()/2 + late)
			e.mu.Lock()
			e.proveLocked(renewal, record("a", 51, "me", 2))
			e.mu.Unlock()
			if e.IsLeader() != leads || (w.context.Err() == nil) != leads {
				t.Errorf("the reply comes %v after the end of trust: IsLeader = %t, the work's context: %v", late, e.IsLeader(), w.context.Err())
			}
			if lost := errors.Is(context.Cause(w.context), ErrRenewalFailed); lost == leads {
				t.Errorf("the reply comes %v after the end of trust: the cause is %v", late, context.Cause(w.context))
			}
		})
	}
}
