package sharding

import (
	"context"
	"errors"
	"testing"
)

func TestHold_AcceptsNoWorkAfterItIsClosedOrWithoutTrust(t *testing.T) {
	trusted := true
	h := newHoldRun(t.Context(), Hold{Shard: 3}, func() bool { return trusted })
	if !h.enter() {
		t.Fatal("an open hold accepts no work")
	}
	trusted = false
	if h.enter() {
		t.Error("a hold without trust accepts work")
	}
	trusted = true
	h.entered.Add(closedBit)
	if h.enter() {
		t.Error("a closed hold accepts work")
	}
	select {
	case <-h.idle:
		t.Fatal("the hold is idle, although one call has not left")
	default:
	}
	h.leave()
	select {
	case <-h.idle:
	default:
		t.Error("the hold is not idle, although everybody has left")
	}
}

func TestHold_TheContextOfTheWorkHasBothEnds(t *testing.T) {
	type key struct{}
	for _, asked := range []bool{false, true} { // whether Done is called before the end
		for _, byHold := range []bool{false, true} {
			h := newHoldRun(t.Context(), Hold{Shard: 3}, func() bool { return true })
			h.enter()
			reason := errors.New("the caller's reason")
			parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
			e := &entry{Context: parent, hold: h}
			if asked {
				e.Done()
			}
			if e.Err() != nil || e.Value(key{}) != "value" {
				t.Fatalf("Err = %v, Value = %v", e.Err(), e.Value(key{}))
			}
			want := reason
			if byHold {
				want = ErrMoving
				h.stopWork(ErrMoving)
			} else {
				cancel(reason)
			}
			<-e.Done()
			if e.Err() == nil || !errors.Is(context.Cause(e), want) {
				t.Errorf("asked %t, ended by the hold %t: Err = %v, cause %v, want %v", asked, byHold, e.Err(), context.Cause(e), want)
			}
			if hold, ok := HoldFromContext(context.WithoutCancel(e)); !ok || hold != h.Hold {
				t.Errorf("HoldFromContext = %+v, %t", hold, ok)
			}
			e.leave()
			e.leave()
			if n := h.entered.Load(); n != 0 {
				t.Errorf("%d calls have not left, want 0", n)
			}
			cancel(nil)
		}
	}
}
