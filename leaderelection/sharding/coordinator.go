package sharding

import (
	"context"
	"strconv"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/assign"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// planGap is the shortest pause between two plans, so that many events cause one plan.
const planGap = 10 * time.Millisecond

// A coordinator plans moves for one term of the coordinator's Lease. Only one goroutine uses
// it. Everything that it writes is safe even if another process is the coordinator by now.
type coordinator struct {
	*Group
	began   time.Time
	noticed map[table.Term]time.Time // when a term was first named by the table and not by its Lease
	missing map[table.Term]time.Time // when a read arrived that was sent after that, and did not show the term
	closed  map[int]closedSlab       // the slabs that are not open
	wakeAt  time.Time                // when to plan again without an event
	read    bool                     // true if the members' Leases must be read
	actions []func(context.Context)
	over    map[table.Term]bool // the results of overLocked in this plan
}

// A closedSlab records a read of the members' Leases after a closed slab was observed.
type closedSlab struct {
	since   time.Time // observedSlab.since
	arrived time.Time // when the read arrived; zero before it
}

// coordinate is the work of the coordinator's Elector.
func (g *Group) coordinate(ctx context.Context) {
	c := &coordinator{Group: g, began: time.Now(), noticed: map[table.Term]time.Time{}, missing: map[table.Term]time.Time{}, closed: map[int]closedSlab{}}
	g.listTable(ctx)
	for ctx.Err() == nil {
		now := time.Now()
		c.actions, c.read, c.wakeAt = nil, false, now.Add(g.config.RetryPeriod)
		g.mu.Lock()
		listed := g.table.listed.After(c.began)
		ready := listed && g.members.sent.After(c.began)
		if ready {
			c.decideLocked(now)
		}
		g.mu.Unlock()
		if !listed {
			g.listTable(ctx)
		}
		c.read = c.read || !ready
		if c.read {
			c.actions = append(c.actions, g.listMembers)
		}
		var all sync.WaitGroup
		slots := make(chan struct{}, 8)
		for _, action := range c.actions {
			all.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				action(ctx)
			})
		}
		all.Wait()
		_ = clock.Sleep(ctx, nil, planGap)
		timer := time.NewTimer(max(0, time.Until(c.wakeAt)))
		select {
		case <-ctx.Done():
		case <-g.plan:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (c *coordinator) do(action func(context.Context)) { c.actions = append(c.actions, action) }

// planAt makes the coordinator plan again at the given time.
func (c *coordinator) planAt(at time.Time) {
	if at.Before(c.wakeAt) {
		c.wakeAt = at
	}
}

// decideLocked decides what to write now.
func (c *coordinator) decideLocked(now time.Time) {
	c.sealLocked(now)
	layout := c.layoutLocked()
	next := map[int]*table.Slab{} // changed slabs
	for n := range layout.Slabs() {
		c.repairLocked(now, layout, n, next)
	}
	c.assignLocked(now, layout, next)
	for n, s := range next {
		base := c.table.slabs[n].lease
		c.do(func(ctx context.Context) { c.replaceSlab(ctx, n, base, s) })
	}
}

// layoutLocked returns the layout of the table, or of the configuration if there is no table.
func (c *coordinator) layoutLocked() table.Layout {
	for n := range max(1, c.layout.Slabs()) {
		if o := c.table.slabs[n]; o.slab != nil {
			return o.slab.Layout
		}
	}
	for _, o := range c.table.slabs {
		if o.slab != nil {
			return o.slab.Layout
		}
	}
	return c.layout
}

// sealLocked seals the terms that have expired, and deletes the Leases of members that have
// left.
func (c *coordinator) sealLocked(now time.Time) {
	for name, s := range c.members.states {
		switch {
		case s.Lease == nil:
		case s.Holder() != "":
			if until := s.HeldUntil(); now.Before(until) {
				c.planAt(until)
			} else {
				sealed := table.MemberLeaseOf(name, s.Lease).Current
				l := s.Lease.DeepCopy()
				c.do(func(ctx context.Context) { c.seal(ctx, l, sealed) })
			}
		case now.Sub(s.Since) > 2*waitsFor(c.config, s) && !c.namedLocked(name):
			l := s.Lease
			c.do(func(ctx context.Context) { _ = c.store.delete(ctx, l) })
		}
	}
}

// namedLocked reports whether the table names the member.
func (c *coordinator) namedLocked(name string) bool {
	for _, o := range c.table.slabs {
		if o.slab == nil {
			continue
		}
		for _, e := range o.slab.Entries {
			if e.Owner.Member == name || e.Next.Member == name {
				return true
			}
		}
	}
	return false
}

// seal ends a term that has expired. The write is refused if the member has renewed its
// Lease.
func (c *coordinator) seal(ctx context.Context, l *coordinationv1.Lease, term table.Term) {
	nobody := ""
	l.Spec.HolderIdentity = &nobody
	if l.Annotations == nil {
		l.Annotations = map[string]string{}
	}
	l.Annotations[table.SealedAnnotation] = term.String()
	sealed, err := c.store.update(ctx, l)
	if err != nil {
		c.listMembers(ctx)
		return
	}
	c.log.Info("Sealed the term of a member that has stopped renewing its lease", "member", term.Member)
	c.observeMember(sealed, false, clock.Stamp{}, 0)
	poke(c.plan)
}

// repairLocked creates slab n if it does not exist, replaces it if it is invalid, and opens
// it as soon as this is safe.
func (c *coordinator) repairLocked(now time.Time, layout table.Layout, n int, next map[int]*table.Slab) {
	o := c.table.slabs[n]
	switch {
	case o.lease == nil:
		first := !c.table.everSeen
		s := table.NewSlab(layout, layout.Entries(n), first)
		c.do(func(ctx context.Context) { c.createSlab(ctx, n, s) })
		return
	case o.slab == nil:
		next[n] = table.NewSlab(layout, layout.Entries(n), false)
		return
	case o.slab.Open:
		delete(c.closed, n)
		return
	}
	closed := c.closed[n]
	if !closed.since.Equal(o.since) {
		closed = closedSlab{since: o.since}
	}
	if closed.arrived.IsZero() && c.members.sent.After(o.since) {
		closed.arrived = c.members.arrived
	}
	c.closed[n] = closed
	if closed.arrived.IsZero() {
		c.read = true
		return
	}
	var live []table.Term
	for name, s := range c.members.states {
		if t := table.MemberLeaseOf(name, s.Lease).Current; !t.IsZero() {
			live = append(live, t)
		}
	}
	waitUntil := closed.arrived.Add(c.config.LeaseDuration)
	if o.slab.MayOpen(live, !now.Before(waitUntil)) {
		next[n] = o.slab.Clone()
		next[n].OpenUp()
	} else if now.Before(waitUntil) {
		c.planAt(waitUntil)
	}
}

// overCachedLocked returns the result of overLocked, which is the same for all shards.
func (c *coordinator) overCachedLocked(now time.Time, t table.Term) bool {
	over, known := c.over[t]
	if !known {
		over = c.overLocked(now, t)
		c.over[t] = over
	}
	return over
}

// overLocked reports whether the term t is over.
func (c *coordinator) overLocked(now time.Time, t table.Term) bool {
	m := table.MemberLeaseOf(t.Member, c.members.states[t.Member].Lease)
	if m.Current == t {
		delete(c.noticed, t)
		delete(c.missing, t)
		return false
	}
	if m.Over(t, false) {
		return true
	}
	if _, known := c.noticed[t]; !known {
		c.noticed[t] = now
	}
	if _, known := c.missing[t]; !known {
		if !c.members.sent.After(c.noticed[t]) {
			c.read = true
			c.planAt(now.Add(c.config.retryDelay()))
			return false
		}
		c.missing[t] = c.members.arrived
	}
	until := c.missing[t].Add(waitsFor(c.config, c.members.states[t.Member]))
	waited := c.members.sent.After(until) // read again, because the watch may stall
	switch {
	case now.Before(until):
		c.planAt(until)
	case !waited:
		c.read = true
	}
	return m.Over(t, waited)
}

// assignLocked grants and moves shards.
func (c *coordinator) assignLocked(now time.Time, layout table.Layout, next map[int]*table.Slab) {
	in := assign.Input{MaxMoving: c.config.MaxMoving, Prefer: c.config.Prefer}
	terms, positions := []table.Term{}, map[table.Term]int{}
	zones := map[string]string{}
	in.Rebalance = true
	for name, s := range c.members.states {
		t := table.MemberLeaseOf(name, s.Lease).Current
		if s.Lease != nil {
			zones[name] = s.Lease.Labels[table.ZoneLabel]
		}
		if t.IsZero() || !now.Before(s.HeldUntil()) {
			continue
		}
		m := memberOf(name, t, s, layout)
		m.Suspect = now.Sub(s.Since) > 3*c.config.RetryPeriod
		if settled := c.members.joined[name].Add(c.config.SettleFor); now.Before(settled) {
			in.Rebalance = false
			c.planAt(settled)
		}
		delete(c.noticed, t) // a wait for t begins anew if its Lease is edited by hand once more
		delete(c.missing, t)
		positions[t] = len(terms)
		terms, in.Members = append(terms, t), append(in.Members, m)
	}
	// A ghost owns the shards whose owner is neither alive nor over, and those of slabs that
	// cannot be written now.
	ghost := len(in.Members)
	in.Members = append(in.Members, assign.Member{Name: ""})
	position := func(t table.Term) int {
		if p, alive := positions[t]; alive {
			return p
		}
		return ghost
	}
	last := make([]string, layout.Shards)
	c.over = map[table.Term]bool{}
	in.Owner, in.Next = make([]int, layout.Shards), make([]int, layout.Shards)
	for shard := range layout.Shards {
		in.Owner[shard], in.Next[shard] = ghost, assign.Nobody
		o, n := c.table.slabs[shard/table.SlabSize], shard/table.SlabSize
		if o.slab == nil || o.slab.Layout != layout || !o.slab.Open || next[n] != nil {
			continue
		}
		e := o.slab.Entries[shard%table.SlabSize]
		last[shard] = e.Owner.Member
		switch {
		case e.Owner.IsZero() || position(e.Owner) == ghost && c.overCachedLocked(now, e.Owner):
			in.Owner[shard] = assign.Nobody
		default:
			in.Owner[shard] = position(e.Owner)
			if !e.Next.IsZero() {
				in.Next[shard] = position(e.Next)
			}
		}
	}
	in.Zone = func(shard int) string { return zones[last[shard]] }
	c.applyLocked(assign.Make(in), terms, next)
}

// applyLocked writes the plan into copies of the slabs.
func (c *coordinator) applyLocked(plan assign.Plan, terms []table.Term, next map[int]*table.Slab) {
	slab := func(shard int) *table.Slab {
		n := shard / table.SlabSize
		if next[n] == nil {
			next[n] = c.table.slabs[n].slab.Clone()
		}
		return next[n]
	}
	for shard, to := range plan.Grant {
		if err := slab(shard).Grant(shard%table.SlabSize, terms[to], true); err != nil {
			c.log.Error("Plan is not permitted", "shard", shard, "error", err)
		}
	}
	for shard, to := range plan.Move {
		var term table.Term
		if to != assign.Nobody {
			term = terms[to]
		}
		if err := slab(shard).Move(shard%table.SlabSize, term); err != nil {
			c.log.Error("Plan is not permitted", "shard", shard, "error", err)
		}
	}
}

// memberOf returns the member for the assignment.
func memberOf(name string, t table.Term, s lease.State, layout table.Layout) assign.Member {
	m := assign.Member{Name: name, Weight: 1, Zone: s.Lease.Labels[table.ZoneLabel], Leaving: s.Lease.Annotations[table.LeavingAnnotation] == t.String()}
	if w, err := strconv.Atoi(s.Lease.Labels[table.WeightLabel]); err == nil && w >= 0 && w <= maxWeight {
		m.Weight = w
	}
	if generation, err := strconv.ParseInt(s.Lease.Labels[table.GenerationLabel], 10, 64); err == nil {
		m.Generation = generation
	}
	if s.Lease.Labels[table.LayoutLabel] != layout.Label() {
		m.Weight = 0 // the member does not know the names of the shards
	}
	return m
}

// maxWeight is the largest weight of a member, so that shares can be computed with integers.
const maxWeight = 1_000_000
