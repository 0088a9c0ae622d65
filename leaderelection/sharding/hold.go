package sharding

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A Hold is one period in which this member owns a shard.
type Hold struct {
	// Shard is the number of the shard, from 0. Name is its name, or "" if it has none.
	Shard int
	Name  string
	// Token is the fencing token of the hold. Each hold of a shard has a greater token than
	// all earlier holds of the shard, in any process.
	Token leaderelection.Token
}

type holdKey struct{}

// HoldFromContext returns the hold that ctx belongs to. Pass the context that OnGained or
// Enter returned, or a context derived from it.
func HoldFromContext(ctx context.Context) (Hold, bool) {
	h, ok := ctx.Value(holdKey{}).(*holdRun)
	if !ok {
		return Hold{}, false
	}
	return h.Hold, true
}

// closedBit is added to holdRun.entered when no more work may begin.
const closedBit = 1 << 62

// A holdRun is the execution of a hold.
type holdRun struct {
	Hold
	trusted func() bool // reports whether the member's term is trusted

	entered  atomic.Int64  // how many calls of Enter have not left, plus closedBit
	idle     chan struct{} // closed when the hold is closed and everybody has left
	idleOnce sync.Once
	gained   chan struct{} // closed when OnGained has returned
	done     chan struct{} // closed when OnLost has returned

	admit     context.Context // for OnGained; cancelled when no more work may begin
	work      context.Context // for Enter; cancelled when running work must stop
	stopAdmit context.CancelCauseFunc
	stopWork  context.CancelCauseFunc
	timer     *time.Timer // ends the work after DrainTimeout; nil if the hold does not drain
	closedAt  time.Time   // when closedBit was added
}

func newHoldRun(base context.Context, hold Hold, trusted func() bool) *holdRun {
	h := &holdRun{Hold: hold, trusted: trusted, idle: make(chan struct{}), gained: make(chan struct{}), done: make(chan struct{})}
	h.work, h.stopWork = context.WithCancelCause(context.WithValue(base, holdKey{}, h))
	h.admit, h.stopAdmit = context.WithCancelCause(h.work)
	return h
}

// enter reports whether new work may begin. If so, leave must be called when it ends.
func (h *holdRun) enter() bool {
	if h.entered.Add(1) >= closedBit || !h.trusted() {
		h.leave()
		return false
	}
	return true
}

func (h *holdRun) leave() {
	if h.entered.Add(-1) == closedBit {
		h.idleOnce.Do(func() { close(h.idle) })
	}
}

// closing reports whether no more work may begin.
func (h *holdRun) closing() bool { return h.entered.Load() >= closedBit }

// returned reports whether all work has returned, and OnLost too.
func (h *holdRun) returned() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// An entry is one successful call of Enter. It is the context of the work: it is done when
// the caller's context or the hold's context is done.
type entry struct {
	context.Context // the caller's context, or the merged context
	hold            *holdRun
	cancel          context.CancelFunc
	left            atomic.Bool
}

func (e *entry) Value(key any) any {
	if key == (holdKey{}) {
		return e.hold
	}
	return e.Context.Value(key)
}

func (e *entry) leave() {
	if e.left.CompareAndSwap(false, true) {
		if e.cancel != nil {
			e.cancel()
		}
		e.hold.leave()
	}
}

// newEntry merges the caller's context with the hold's context. If the caller's context is
// never done, the hold's context decides alone.
func newEntry(ctx context.Context, h *holdRun) *entry {
	if ctx.Done() == nil {
		return &entry{Context: valuesOf{h.work, ctx}, hold: h}
	}
	merged, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.work, func() { cancel(context.Cause(h.work)) })
	return &entry{Context: merged, hold: h, cancel: func() { stop(); cancel(nil) }}
}

// valuesOf is a context with the values of another context.
type valuesOf struct {
	context.Context
	values context.Context
}

func (v valuesOf) Value(key any) any {
	if value := v.values.Value(key); value != nil {
		return value
	}
	return v.Context.Value(key)
}
