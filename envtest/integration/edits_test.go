package integration_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// giveToOther makes the identity "other" the holder of the Lease. The Lease
// expires two seconds later.
func giveToOther(lease *coordinationv1.Lease) {
	now := metav1.NowMicro()
	lease.Spec.LeaseDurationSeconds = ptr.To(int32(2))
	lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = ptr.To("other"), &now, &now
}

func TestElector_StopsWhenAnotherHolderIsEditedIntoTheLease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	given := s.editLease("another holder", giveToOther)
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	if got := s.holder(); got != "other" {
		t.Errorf("the Lease names %q", got)
	}
	again := c.awaitTerm()
	if again.AcquiredAt.Before(expiry(given)) {
		t.Errorf("claimed the Lease %v before it expired", expiry(given).Sub(again.AcquiredAt))
	}
	if again.Token <= term.Token {
		t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
	}
}

func TestClientGo_ContinuesWhenAnotherHolderIsEditedIntoTheLease(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.clientGoCandidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("another holder", giveToOther)
	c.awaitRead()
	c.awaitRead() // client-go sends the second read only after it has processed the first read
	if err := term.cause(); err != nil {
		t.Errorf("client-go stopped its work when it observed another holder, so the corresponding test of the Elector shows nothing: %v", err)
	}
}

func TestElector_StopsWhenTheLeaseIsDeleted(t *testing.T) {
	s := newSharedCluster(t, longLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.deleteLease()
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrLeaseDeleted) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	if again := c.awaitTerm(); again.Token <= term.Token {
		t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
	}
}

func TestElector_WaitsForTheExpiryOfADeletedLease(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.candidate)
	first.cut()
	expires := expiry(s.getLease())
	s.deleteLease()
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the deleted Lease would have expired", expires.Sub(term.AcquiredAt))
	}
}

func TestClientGo_DeletedLeaseIsClaimedAtOnce(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	s.allowOverlap()
	first, second, _ := startTwo(s, s.clientGoCandidate)
	first.cut()
	s.deleteLease()
	second.awaitTerm()
	s.requireOverlap()
}

func TestElector_InvalidEditOfTheLeaseEndsTheTermAndTheLeaseIsClaimedAgain(t *testing.T) {
	t.Parallel()
	long := metav1.NewMicroTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	old := metav1.NewMicroTime(time.Time{}.Add(time.Hour))
	for what, edit := range map[string]func(*coordinationv1.Lease){
		"without a spec":            func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} },
		"without a holder":          func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil },
		"another holder only":       func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{HolderIdentity: ptr.To("x")} },
		"most transitions":          func(l *coordinationv1.Lease) { giveToOther(l); l.Spec.LeaseTransitions = ptr.To(int32(math.MaxInt32)) },
		"renewed in the far future": func(l *coordinationv1.Lease) { giveToOther(l); l.Spec.RenewTime, l.Spec.AcquireTime = &long, &long },
		"renewed long ago":          func(l *coordinationv1.Lease) { giveToOther(l); l.Spec.RenewTime, l.Spec.AcquireTime = &old, &old },
		"a very long name": func(l *coordinationv1.Lease) {
			giveToOther(l)
			l.Spec.HolderIdentity = ptr.To(string(make([]byte, 10_000)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newSharedCluster(t, longLease)
			c := s.candidate("pod-1").run()
			term := c.awaitTerm()
			s.editLease(what, edit)
			if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
				t.Errorf("the work was asked to stop because %v", err)
			}
			if again := c.awaitTerm(); again.Token <= term.Token {
				t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
			}
		})
	}
}

func TestElector_EditOfTheRenewTimeEndsTheTerm(t *testing.T) {
	long := metav1.NewMicroTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	s := newSharedCluster(t, shortLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("renewed in the far future, and nothing else", func(l *coordinationv1.Lease) { l.Spec.RenewTime = &long })
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	c.awaitTerm()
}

func TestElector_WaitsForALeaseOf68YearsUntilItIsEdited(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("held for 68 years", func(l *coordinationv1.Lease) {
		giveToOther(l)
		l.Spec.LeaseDurationSeconds = ptr.To(int32(math.MaxInt32))
	})
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was asked to stop because %v", err)
	}
	c.awaitLeader("other")
	claims := c.Network().Count(leaderelectiontest.Claims("pod-1"))
	<-time.After(s.config.LeaseDuration) // a candidate usually claims within this time
	if got := c.Network().Count(leaderelectiontest.Claims("pod-1")) - claims; got != 0 {
		t.Errorf("claimed a Lease that is held for 68 years %d times", got)
	}
	s.editLease("released", func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
	c.awaitTerm()
}

func TestElector_EditsOfMetadataDoNotDelayTheNextLeader(t *testing.T) {
	s := newSharedCluster(t, shortLease)
	first, second, _ := startTwo(s, s.candidate)
	first.crash()
	ctx, cancel := context.WithCancel(t.Context())
	edited := make(chan int)
	go func() {
		leases := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace)
		n := 0
		for ; ctx.Err() == nil; n++ {
			patch := []byte(`{"metadata":{"annotations":{"edited":"` + time.Now().String() + `"}}}`)
			_, _ = leases.Patch(ctx, leaseName, types.MergePatchType, patch, metav1.PatchOptions{})
			select {
			case <-ctx.Done():
			case <-time.After(s.config.LeaseDuration / 20):
			}
		}
		edited <- n
	}()
	second.awaitTerm()
	second.awaitRenewals(4) // the edits have not ended the term of the leader
	cancel()
	if n := next(t, edited); n < 10 {
		t.Errorf("the metadata was edited only %d times", n)
	}
}
