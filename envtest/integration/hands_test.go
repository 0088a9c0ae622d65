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

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// giveAway names another holder, who renews now, for two seconds.
func giveAway(lease *coordinationv1.Lease) {
	now := metav1.NowMicro()
	lease.Spec.LeaseDurationSeconds = new(int32(2))
	lease.Spec.HolderIdentity, lease.Spec.AcquireTime, lease.Spec.RenewTime = new("somebody"), &now, &now
}

func TestElector_StopsWhenTheLeaseIsGivenAway(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	given := s.editLease("given away", giveAway)
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was told to stop because %v", err)
	}
	if got := s.holder(); got != "somebody" {
		t.Errorf("the Lease names %q", got)
	}
	again := c.awaitTerm()
	if again.AcquiredAt.Before(expiry(given)) {
		t.Errorf("claimed the Lease %v before it ran out", expiry(given).Sub(again.AcquiredAt))
	}
	if again.Token <= term.Token {
		t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
	}
}

func TestClientGo_WorksOnWhenTheLeaseIsGivenAway(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.bareCandidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("given away", giveAway)
	c.awaitRead()
	c.awaitRead() // it has asked again, so it knows what it read before
	if err := term.cause(); err != nil {
		t.Errorf("client-go stopped its work when it saw another holder: the test of ours shows nothing: %v", err)
	}
}

func TestElector_StopsWhenTheLeaseIsDeleted(t *testing.T) {
	s := newParallelStage(t, calm)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.deleteLease()
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrLeaseDeleted) {
		t.Errorf("the work was told to stop because %v", err)
	}
	if again := c.awaitTerm(); again.Token <= term.Token {
		t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
	}
}

func TestElector_DeletedLeaseIsNoShortcut(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, _ := newReign(s, s.candidate)
	first.cut()
	expires := expiry(s.getLease())
	s.deleteLease()
	if term := second.awaitTerm(); term.AcquiredAt.Before(expires) {
		t.Errorf("claimed %v before the deleted Lease would have run out", expires.Sub(term.AcquiredAt))
	}
}

func TestClientGo_DeletedLeaseIsClaimedAtOnce(t *testing.T) {
	s := newParallelStage(t, brisk)
	s.expectOverlap()
	first, second, _ := newReign(s, s.bareCandidate)
	first.cut()
	s.deleteLease()
	second.awaitTerm()
	s.requireOverlap()
}

func TestElector_LeaseEditedIntoNonsenseEndsTheTermAndIsClaimedAgain(t *testing.T) {
	t.Parallel()
	long := metav1.NewMicroTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	old := metav1.NewMicroTime(time.Time{}.Add(time.Hour))
	for what, edit := range map[string]func(*coordinationv1.Lease){
		"without a spec":            func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} },
		"without a holder":          func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil },
		"another holder only":       func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{HolderIdentity: new("x")} },
		"most transitions":          func(l *coordinationv1.Lease) { giveAway(l); l.Spec.LeaseTransitions = new(int32(math.MaxInt32)) },
		"renewed in the far future": func(l *coordinationv1.Lease) { giveAway(l); l.Spec.RenewTime, l.Spec.AcquireTime = &long, &long },
		"renewed long ago":          func(l *coordinationv1.Lease) { giveAway(l); l.Spec.RenewTime, l.Spec.AcquireTime = &old, &old },
		"a very long name": func(l *coordinationv1.Lease) {
			giveAway(l)
			l.Spec.HolderIdentity = new(string(make([]byte, 10_000)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			s := newParallelStage(t, calm)
			c := s.candidate("pod-1").run()
			term := c.awaitTerm()
			s.editLease(what, edit)
			if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
				t.Errorf("the work was told to stop because %v", err)
			}
			if again := c.awaitTerm(); again.Token <= term.Token {
				t.Errorf("the second token is %v, the first was %v", again.Token, term.Token)
			}
		})
	}
}

func TestElector_OwnLeaseEditedIsNotOwnAnyMore(t *testing.T) {
	long := metav1.NewMicroTime(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	s := newParallelStage(t, brisk)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("renewed in the far future, and nothing else", func(l *coordinationv1.Lease) { l.Spec.RenewTime = &long })
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was told to stop because %v", err)
	}
	c.awaitTerm()
}

func TestElector_HugeDurationHoldsUntilItIsEditedAgain(t *testing.T) {
	s := newParallelStage(t, brisk)
	c := s.candidate("pod-1").run()
	term := c.awaitTerm()
	s.editLease("held for 68 years", func(l *coordinationv1.Lease) {
		giveAway(l)
		l.Spec.LeaseDurationSeconds = new(int32(math.MaxInt32))
	})
	if err := term.awaitStop(); !errors.Is(err, leaderelection.ErrOvertaken) {
		t.Errorf("the work was told to stop because %v", err)
	}
	c.awaitLeader("somebody")
	claims := c.Network().Count(leaderelectiontest.Claims("pod-1"))
	<-time.After(s.config.LeaseDuration) // that it waits longer than usual takes time to show
	if got := c.Network().Count(leaderelectiontest.Claims("pod-1")) - claims; got != 0 {
		t.Errorf("claimed a Lease that is held for 68 years %d times", got)
	}
	s.editLease("freed", func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
	c.awaitTerm()
}

func TestElector_MetadataEditedUnderADeadLeaderDelaysNobody(t *testing.T) {
	s := newParallelStage(t, brisk)
	first, second, _ := newReign(s, s.candidate)
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
	second.awaitRenewals(4) // nor do edits end a term
	cancel()
	if n := next(t, edited); n < 10 {
		t.Errorf("the metadata were edited %d times only", n)
	}
}
