package sharding

import (
	"context"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/leasewatch"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// observedTable is the table as this process has last observed it.
type observedTable struct {
	slabs    map[int]observedSlab
	version  uint64    // the greatest resourceVersion
	listed   time.Time // when the last list arrived; zero before the first
	contact  time.Time // when the last event or list arrived
	everSeen bool      // true if a slab was ever observed
}

// An observedSlab is the newest observation of one slab.
type observedSlab struct {
	lease   *coordinationv1.Lease // nil if the slab does not exist
	slab    *table.Slab           // nil if the slab does not exist or is invalid
	version uint64
	since   time.Time // when this incarnation of the slab was first observed
}

// followTable keeps the table up to date until ctx is done. A watch may stall without an
// error. The coordinator renews its Lease, which the watch also reports. Therefore the
// table is read if no event arrives for some time.
func (g *Group) followTable(ctx context.Context) {
	g.followRole(ctx, table.RoleTable, func(e watch.Event) {
		if l := leasewatch.LeaseOf(e); l != nil {
			g.observeSlab(l, e.Type == watch.Deleted)
		}
	}, g.listTable)
}

// followRole watches the Leases with the given role, and reads them regularly.
func (g *Group) followRole(ctx context.Context, role string, event func(watch.Event), list func(context.Context)) {
	heard := make(chan struct{}, 1)
	w := &leasewatch.Watch{
		Open: g.store.watch(role), ConnectTimeout: g.store.timeout, Backoff: g.config.RetryPeriod / 4,
		Jitter: retryJitter,
		Event: func(e watch.Event) {
			event(e)
			poke(heard)
		},
	}
	opened := make(chan struct{}, 1)
	w.Changed = func(open bool, _ error) {
		if open {
			poke(opened)
		}
	}
	done := make(chan struct{})
	g.tasks.Run(func() {
		defer close(done)
		w.Run(ctx)
	})
	for ctx.Err() == nil {
		list(ctx)
		timer := time.NewTimer(g.config.pollInterval())
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-opened: // events may have been missed while no watch was open
				waiting = false
			case <-heard:
				timer.Reset(g.config.pollInterval())
			case <-timer.C:
				waiting = false
				w.Restart(g.config.pollInterval())
			}
		}
		timer.Stop()
	}
	<-done
}

// slabOf returns the number of the slab in a Lease of this group.
func (g *Group) slabOf(name string) (n int, ok bool) {
	text, ok := strings.CutPrefix(name, g.config.Name+".s.")
	n, err := strconv.Atoi(text)
	return n, ok && err == nil && n >= 0 && name == slabName(g.config.Name, n)
}

// observeSlab records one observation of a slab. An observation that is not newer than the
// last one has no effect.
func (g *Group) observeSlab(l *coordinationv1.Lease, deleted bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.table.contact = time.Now()
	n, ok := g.slabOf(l.Name)
	version := lease.Version(l)
	if !ok || version <= g.table.slabs[n].version {
		return
	}
	g.recordSlabLocked(n, version, l, deleted)
}

func (g *Group) recordSlabLocked(n int, version uint64, l *coordinationv1.Lease, deleted bool) {
	last := g.table.slabs[n]
	o := observedSlab{version: version, since: last.since}
	if !deleted {
		o.lease = l
		slab, err := table.Decode(l.Annotations[table.SlabAnnotation], n)
		if err != nil {
			g.log.Error("Table is invalid; its shards stop until the coordinator has repaired it", "lease", l.Name, "error", err)
		} else {
			o.slab = slab
		}
	}
	if uid(o.lease) != uid(last.lease) || (o.slab == nil) != (last.slab == nil) || o.slab != nil && !o.slab.Open && last.slab.Open {
		o.since = time.Now()
	}
	if g.table.slabs == nil {
		g.table.slabs = map[int]observedSlab{}
	}
	g.table.slabs[n] = o
	g.table.version = max(g.table.version, version)
	g.table.everSeen = g.table.everSeen || !deleted
	if g.member.dirty == nil {
		g.member.dirty = map[int]bool{}
	}
	g.member.dirty[n] = true
	poke(g.wake)
	poke(g.plan)
}

func uid(l *coordinationv1.Lease) types.UID {
	if l == nil {
		return ""
	}
	return l.UID
}

// listTable reads the whole table.
func (g *Group) listTable(ctx context.Context) {
	g.mu.Lock()
	before := g.table.version
	g.mu.Unlock()
	list, err := g.store.list(ctx, table.RoleTable)
	if err != nil {
		return
	}
	at, err := strconv.ParseUint(list.ResourceVersion, 10, 64)
	if err != nil {
		return
	}
	if at < before {
		g.rewound()
		return
	}
	present := map[int]bool{}
	for i := range list.Items {
		if n, ok := g.slabOf(list.Items[i].Name); ok {
			present[n] = true
			g.observeSlab(&list.Items[i], false)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, o := range g.table.slabs {
		if !present[n] && o.lease != nil && at > o.version {
			g.recordSlabLocked(n, at, nil, true)
		}
	}
	g.table.listed, g.table.contact = time.Now(), time.Now()
	g.table.version = max(g.table.version, at)
	poke(g.plan)
}

// rewound ends the term of this member, because the database was restored from a backup.
func (g *Group) rewound() {
	g.log.Error("History of the table was rewound; the shards of this member stop")
	g.mu.Lock()
	g.table = observedTable{everSeen: true}
	g.members = observedMembers{}
	g.mu.Unlock()
	g.tasks.Run(func() {
		ctx, cancel := context.WithTimeout(context.Background(), g.config.LeaseDuration)
		defer cancel()
		_ = g.memberElector.StepDown(ctx) // ErrNotLeading means that the term has ended already
	})
}

// observedMembers are the members' Leases as this process has observed them. They are
// followed only by the coordinator and its successor.
type observedMembers struct {
	states map[string]lease.State
	joined map[string]time.Time // when the current term of a member was first observed
	terms  map[string]table.Term
	seq    uint64
	// sent and arrived are the times of the last list. They are zero before the first.
	sent, arrived time.Time
}

// followMembers follows the members' Leases while this process is the coordinator or its
// successor. The successor then knows since when each Lease is unchanged.
func (g *Group) followMembers(ctx context.Context) {
	var current *memberFollower
	defer func() { current.end(g) }()
	for state := range g.coordinatorElector.Changes(ctx) {
		// After a claim, the Lease names this process as the holder before it leads. Between
		// two holders, the successor keeps its observations.
		me := g.config.Identity
		wanted := state.Leading || state.Leader == me || state.Successor == me || state.Leader == "" && current != nil
		switch {
		case wanted && current == nil:
			current = g.startMemberFollower(ctx)
		case !wanted:
			current.end(g)
			current = nil
		}
	}
}

// A memberFollower follows the members' Leases until it is ended.
type memberFollower struct {
	stop context.CancelFunc
	done chan struct{}
}

func (g *Group) startMemberFollower(ctx context.Context) *memberFollower {
	f := &memberFollower{done: make(chan struct{})}
	ctx, f.stop = context.WithCancel(ctx)
	g.tasks.Run(func() {
		defer close(f.done)
		g.followRole(ctx, table.RoleMember, func(e watch.Event) {
			if l := leasewatch.LeaseOf(e); l != nil {
				g.observeMember(l, e.Type == watch.Deleted, clock.Stamp{}, 0)
			}
		}, g.listMembers)
	})
	return f
}

// end ends f and forgets the observations, which are no longer kept up to date. f may be
// nil.
func (f *memberFollower) end(g *Group) {
	if f == nil {
		return
	}
	f.stop()
	<-f.done
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = observedMembers{}
}

func (g *Group) observeMember(l *coordinationv1.Lease, deleted bool, sent clock.Stamp, readSeq uint64) {
	name, ok := strings.CutPrefix(l.Name, g.config.Name+".m.")
	if !ok {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o := lease.Observation{Lease: l, Version: lease.Version(l), At: time.Now(), ReadSeq: readSeq, Sent: sent}
	if deleted {
		o.Lease = nil
	}
	g.recordMemberLocked(name, o)
}

func (g *Group) recordMemberLocked(name string, o lease.Observation) {
	m := &g.members
	if m.states == nil {
		m.states, m.joined, m.terms = map[string]lease.State{}, map[string]time.Time{}, map[string]table.Term{}
	}
	state, known := m.states[name]
	if !known {
		state = lease.State{OwnDuration: g.config.LeaseDuration}
	}
	m.seq++
	next, news := state.After(o, m.seq, false)
	if !news {
		return
	}
	m.states[name] = next
	if current := table.MemberLeaseOf(name, next.Lease).Current; current != m.terms[name] {
		m.terms[name], m.joined[name] = current, o.At
		poke(g.plan)
	}
	if state.Lease == nil || next.Lease == nil || state.Lease.Annotations[table.LeavingAnnotation] != next.Lease.Annotations[table.LeavingAnnotation] {
		poke(g.plan)
	}
}

// listMembers reads all members' Leases.
func (g *Group) listMembers(ctx context.Context) {
	g.mu.Lock()
	g.members.seq++
	readSeq := g.members.seq
	g.mu.Unlock()
	sent, stamp := time.Now(), clock.Now()
	list, err := g.store.list(ctx, table.RoleMember)
	if err != nil {
		return
	}
	at, err := strconv.ParseUint(list.ResourceVersion, 10, 64)
	if err != nil {
		return
	}
	present := map[string]bool{}
	for i := range list.Items {
		l := &list.Items[i]
		present[strings.TrimPrefix(l.Name, g.config.Name+".m.")] = true
		g.observeMember(l, false, stamp, readSeq)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, state := range g.members.states {
		if !present[name] && state.Lease != nil && at > state.Version {
			g.recordMemberLocked(name, lease.Observation{Version: at, At: time.Now()})
		}
	}
	g.members.sent, g.members.arrived = sent, time.Now()
	poke(g.plan)
}
