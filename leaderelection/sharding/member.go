package sharding

import (
	"context"
	"errors"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// memberState is what this process does as a member.
type memberState struct {
	term    table.Term      // the current term; zero if this member does not hold its Lease
	base    context.Context // the context of the term
	runs    map[int]*holdRun
	writing map[int]bool // the slabs for which a write is in flight
	dirty   map[int]bool // the slabs that must be looked at
}

// runTerm is the work of this member's Elector. It returns after the work on all shards has
// returned, so that a later term never overlaps this one.
func (g *Group) runTerm(ctx context.Context) {
	term, ok := g.ownTerm(ctx)
	if !ok {
		return // the term has ended
	}
	g.mu.Lock()
	g.member.term, g.member.base = term, context.WithoutCancel(ctx)
	g.touchAllLocked()
	g.mu.Unlock()
	<-ctx.Done()
	cause := context.Cause(ctx)
	g.mu.Lock()
	g.member.term = table.Term{}
	runs := make([]*holdRun, 0, len(g.member.runs))
	for shard, h := range g.member.runs {
		g.closeLocked(shard, h, errors.Join(ErrTermEnded, cause), false)
		runs = append(runs, h)
	}
	g.signalLocked()
	g.mu.Unlock()
	for _, h := range runs {
		<-h.done
	}
	g.mu.Lock()
	clear(g.member.runs)
	g.mu.Unlock()
}

// ownTerm returns the name under which the table knows the current term of this member. It
// reads the member's Lease, because others know a term by its acquireTime.
func (g *Group) ownTerm(ctx context.Context) (table.Term, bool) {
	token := leaderelection.Token(0)
	if t, ok := leaderelection.TermFromContext(ctx); ok {
		token = t.Token
	}
	for ctx.Err() == nil {
		l, err := g.store.get(ctx, memberName(g.config.Name, g.config.Identity))
		if err == nil && lease.Version(l) >= uint64(token) && l.Labels[table.ProcessLabel] == g.process {
			if t := table.MemberLeaseOf(g.config.Identity, l).Current; !t.IsZero() {
				return t, true
			}
		}
		_ = clock.Sleep(ctx, nil, g.config.retryDelay())
	}
	return table.Term{}, false
}

func (g *Group) touchAllLocked() {
	if g.member.dirty == nil {
		g.member.dirty = map[int]bool{}
	}
	for n := range g.table.slabs {
		g.member.dirty[n] = true
	}
	poke(g.wake)
}

func (g *Group) touch(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.member.dirty == nil {
		g.member.dirty = map[int]bool{}
	}
	g.member.dirty[n] = true
	poke(g.wake)
}

// follow makes this member do its duty after each change of the table, until ctx is done.
func (g *Group) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		g.mu.Lock()
		for n := range g.member.dirty {
			g.reactLocked(ctx, n)
		}
		clear(g.member.dirty)
		g.signalLocked()
		g.mu.Unlock()
	}
}

// reactLocked makes this member do its duty for the shards of slab n.
func (g *Group) reactLocked(ctx context.Context, n int) {
	o := g.table.slabs[n]
	v := g.adoptLocked(o.slab)
	term := g.member.term
	free := true
	var handOver []int
	for i := range table.SlabSize {
		shard := n*table.SlabSize + i
		duty := table.Rest
		if o.slab != nil && o.slab.Layout == v.layout {
			duty = o.slab.Duty(term, i)
		}
		h := g.member.runs[shard]
		if h != nil && h.returned() {
			delete(g.member.runs, shard)
			h = nil
		}
		switch {
		case h == nil && duty == table.Serve && shard < len(v.holds):
			g.gainLocked(v, shard, o.version)
		case h == nil && duty == table.Drain:
			handOver = append(handOver, i)
		case h != nil && duty == table.Drain:
			g.closeLocked(shard, h, ErrMoving, true)
		case h != nil && duty == table.Rest:
			g.closeLocked(shard, h, ErrShardLost, false)
		}
		free = free && g.member.runs[shard] == nil
	}
	if o.slab == nil || term.IsZero() || g.member.writing[n] {
		return
	}
	next := o.slab.Clone()
	changed := free && next.NeedsAck(term) && next.Ack(term) == nil
	for _, i := range handOver {
		changed = next.HandOver(term, i) == nil || changed
	}
	if changed {
		g.member.writing[n] = true
		g.tasks.Run(func() { g.writeSlab(ctx, n, o.lease, next) })
	}
}

// adoptLocked returns the division into shards. If the table uses another number of shards
// and this member works on no shard, the number of the table counts.
func (g *Group) adoptLocked(s *table.Slab) *division {
	v := g.division.Load()
	if s == nil || s.Layout == v.layout || s.Layout.Names != "" || v.layout.Names != "" || len(g.member.runs) > 0 {
		return v
	}
	g.log.Warn("Number of shards differs from the group's; using the group's", "configured", g.config.Shards, "shards", s.Layout.Shards)
	v = newDivision(s.Layout, nil)
	g.division.Store(v)
	return v
}

// gainLocked begins a hold. version is the resourceVersion of the slab in which this member
// has first observed its ownership.
func (g *Group) gainLocked(v *division, shard int, version uint64) {
	if !g.memberElector.IsLeader() {
		return
	}
	hold := Hold{Shard: shard, Token: leaderelection.Token(version)}
	if shard < len(v.names) {
		hold.Name = v.names[shard]
	}
	h := newHoldRun(g.member.base, hold, g.memberElector.IsLeader)
	g.member.runs[shard] = h
	if g.callbacks.OnGained == nil {
		close(h.gained)
	} else {
		g.tasks.Detach(func() {
			defer close(h.gained)
			g.callbacks.OnGained(h.admit, h.Hold)
		})
	}
	v.holds[shard].Store(h)
}

// closeLocked ends a hold. No more work begins. If drain is true, running work may finish
// within DrainTimeout, and otherwise its contexts are cancelled at once.
func (g *Group) closeLocked(shard int, h *holdRun, cause error, drain bool) {
	if !drain {
		h.stopWork(cause)
	}
	if h.closing() {
		return
	}
	if v := g.division.Load(); shard < len(v.holds) {
		v.holds[shard].Store(nil)
	}
	h.stopAdmit(cause)
	if drain {
		h.timer = time.AfterFunc(g.config.DrainTimeout, func() { h.stopWork(cause) })
	}
	stuck := time.AfterFunc(g.config.DrainTimeout+g.config.LeaseDuration, func() {
		g.log.Error("Shard stuck; its work ignores the end of its context", "shard", shard, "error", ErrShardStuck)
	})
	if h.entered.Add(closedBit) == closedBit {
		h.idleOnce.Do(func() { close(h.idle) })
	}
	h.closedAt = time.Now()
	g.tasks.Detach(func() {
		<-h.gained
		<-h.idle
		if g.callbacks.OnLost != nil {
			g.callbacks.OnLost(h.Hold)
		}
		if h.timer != nil {
			h.timer.Stop()
		}
		stuck.Stop()
		h.stopWork(cause)
		close(h.done)
		g.touch(shard / table.SlabSize)
	})
}

func (g *Group) isStuck(h *holdRun) bool {
	return time.Since(h.closedAt) > g.config.DrainTimeout+g.config.LeaseDuration
}

// writeSlab writes a new version of slab n. The request is based on the version that this
// process has observed, so it is refused if the slab has changed. The reply may be lost: a
// read then shows whether the write was applied.
func (g *Group) writeSlab(ctx context.Context, n int, base *coordinationv1.Lease, s *table.Slab) {
	l := base.DeepCopy()
	setSlab(l, s)
	written, err := g.store.update(ctx, l)
	if err == nil {
		g.observeSlab(written, false)
	} else if l, errRead := g.store.get(ctx, slabName(g.config.Name, n)); errRead == nil {
		g.observeSlab(l, false)
		_ = clock.Sleep(ctx, nil, retryJitter(g.config.retryDelay()/8))
	} else {
		_ = clock.Sleep(ctx, nil, g.config.retryDelay())
	}
	g.mu.Lock()
	delete(g.member.writing, n)
	g.mu.Unlock()
	g.touch(n)
}

func setSlab(l *coordinationv1.Lease, s *table.Slab) {
	if l.Annotations == nil {
		l.Annotations = map[string]string{}
	}
	l.Annotations[table.SlabAnnotation] = s.Encode()
}

// leave hands over all shards. It returns when this member has none left, after
// LeaveTimeout, or when nobody can take them.
func (g *Group) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, g.config.LeaveTimeout)
	defer cancel()
	g.mu.Lock()
	term := g.member.term
	g.mu.Unlock()
	if term.IsZero() {
		return
	}
	for ctx.Err() == nil {
		if g.store.annotate(ctx, memberName(g.config.Name, g.config.Identity), table.LeavingAnnotation, term.String()) == nil {
			break
		}
		_ = clock.Sleep(ctx, nil, g.config.retryDelay())
	}
	for {
		g.mu.Lock()
		left, changed := g.ownsShardsLocked(term), g.changed
		alone := g.coordinatorElector.IsLeader() && g.aloneLocked()
		g.mu.Unlock()
		if !left || alone || ctx.Err() != nil {
			return
		}
		_ = clock.Sleep(ctx, changed, g.config.RetryPeriod)
	}
}

func (g *Group) ownsShardsLocked(term table.Term) bool {
	if g.member.term != term {
		return false
	}
	for _, o := range g.table.slabs {
		if o.slab == nil {
			continue
		}
		for _, e := range o.slab.Entries {
			if e.Owner == term {
				return true
			}
		}
	}
	return false
}

// aloneLocked reports whether no other member could take shards.
func (g *Group) aloneLocked() bool {
	for name, t := range g.members.terms {
		if name != g.config.Identity && !t.IsZero() && g.members.states[name].Lease.Annotations[table.LeavingAnnotation] != t.String() {
			return false
		}
	}
	return true
}
