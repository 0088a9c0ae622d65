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
// the caller's context or the hold's context is done. The two contexts are merged only when
// this is needed, because most work is short and never waits for the end of its context.
type entry struct {
	context.Context // the caller's context
	hold            *holdRun
	left            atomic.Bool

	once   sync.Once
	merged atomic.Pointer[mergedContext] // nil until the contexts are merged
}

type mergedContext struct {
	context.Context
	cancel context.CancelCauseFunc
	stop   func() bool
}

// merge returns a context that is done when the caller's or the hold's context is done.
func (e *entry) merge() *mergedContext {
	e.once.Do(func() {
		m := &mergedContext{}
		m.Context, m.cancel = context.WithCancelCause(e.Context)
		if e.hold.work.Err() != nil {
			m.cancel(context.Cause(e.hold.work))
		}
		m.stop = context.AfterFunc(e.hold.work, func() { m.cancel(context.Cause(e.hold.work)) })
		e.merged.Store(m)
		if e.left.Load() { // leave may not have found m
			m.end()
		}
	})
	return e.merged.Load()
}

func (m *mergedContext) end() {
	m.stop()
	m.cancel(nil)
}

// Done returns a channel that is closed when the context is done.
func (e *entry) Done() <-chan struct{} { return e.merge().Done() }

// Err returns nil as long as the context is not done.
func (e *entry) Err() error {
	if m := e.merged.Load(); m != nil {
		return m.Err()
	}
	if e.left.Load() || e.Context.Err() != nil || e.hold.work.Err() != nil {
		return e.merge().Err()
	}
	return nil
}

// Value returns a value of the caller's context, or the hold.
func (e *entry) Value(key any) any {
	if key == (holdKey{}) {
		return e.hold
	}
	if m := e.merged.Load(); m != nil {
		return m.Value(key) // context.Cause asks the merged context
	}
	return e.Context.Value(key)
}

func (e *entry) leave() {
	if e.left.CompareAndSwap(false, true) {
		if m := e.merged.Load(); m != nil {
			m.end()
		}
		e.hold.leave()
	}
}
