// Package assign decides which member works on which shard. It is a pure function of the
// members, the table and the limits. It reads no clock and sends no request.
package assign

import (
	"cmp"
	"math"
	"slices"

	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// Nobody stands for no member.
const Nobody = -1

// A Member is a member that is alive.
type Member struct {
	Name       string // the identity
	Weight     int    // the member's share; 0 means that it gets no shards
	Generation int64  // a newer program has a greater number
	Zone       string // "" if unknown
	Leaving    bool   // true if the member gives up its shards
	Suspect    bool   // true if the member's Lease was not renewed in time
}

// shares reports whether the member has a share of the shards. receives reports whether it
// may get a shard now.
func (m Member) shares() bool   { return m.Weight > 0 && !m.Leaving }
func (m Member) receives() bool { return m.shares() && !m.Suspect }

// An Input is what Plan decides on. Owner and Next contain a position in Members, or
// Nobody, for each shard.
type Input struct {
	Members   []Member                           // all members that are alive
	Owner     []int                              // the owner of each shard
	Next      []int                              // the next owner of each shard
	MaxMoving int                                // how many shards may be handed over at the same time
	Rebalance bool                               // false if only shards that need another owner move
	Zone      func(shard int) string             // the zone of the last owner; may be nil
	Prefer    func(shard int, member string) int // a higher number is preferred; may be nil
}

// A Plan contains the changes. A shard occurs in at most one of the maps.
type Plan struct {
	Grant   map[int]int // shards without an owner, and their owners
	Move    map[int]int // shards that are handed over, and their next owners; Nobody means that the owner keeps the shard
	Waiting int         // shards that move later, because of MaxMoving or because a member is suspect
}

// A planner computes a Plan.
type planner struct {
	Input
	sharers   []int     // members that have a share
	receivers []int     // members that may get shards now
	load      []int     // how many shards each member will have
	floor     []int     // each member gets at least floor shards, and at most floor+1
	target    []float64 // the exact share of each member
	extra     int       // how many members may have floor+1 shards
	planned   []int     // the owner of each shard after the Plan
	plan      Plan
	moving    int
}

// Make returns the changes that a coordinator should write now.
//
//   - Each member gets its share of the shards, rounded down or up.
//   - No more shards move than this needs. If nothing changes, a second Plan is empty.
//   - Shards without an owner are granted at once. Shards of leaving members move first.
//   - Among the members that have less than their share, a newer generation is preferred,
//     then the zone of the last owner, then Prefer, then the member that lacks most.
//   - While a member is suspect, shards are not moved for balance.
func Make(in Input) Plan {
	p := &planner{Input: in, plan: Plan{Grant: map[int]int{}, Move: map[int]int{}}}
	p.shares()
	p.keep()
	p.place(func(shard int) bool { return p.Owner[shard] == Nobody })
	p.place(func(shard int) bool { return p.Owner[shard] != Nobody })
	p.balance()
	return p.plan
}

// shares computes the share of each member.
func (p *planner) shares() {
	n := len(p.Members)
	p.load, p.floor, p.target = make([]int, n), make([]int, n), make([]float64, n)
	total := 0
	for i, m := range p.Members {
		if m.receives() {
			p.receivers = append(p.receivers, i)
		}
		if m.shares() {
			p.sharers = append(p.sharers, i)
			total += m.Weight
		}
	}
	p.extra = len(p.Owner)
	for _, i := range p.sharers {
		product := len(p.Owner) * p.Members[i].Weight
		p.floor[i], p.target[i] = product/total, float64(product)/float64(total)
		p.extra -= p.floor[i]
	}
}

// keep finds the shards that stay where they are, or are already on their way. The other
// shards have no planned owner.
func (p *planner) keep() {
	p.planned = make([]int, len(p.Owner))
	for shard, owner := range p.Owner {
		next := p.Next[shard]
		at := owner
		if owner != Nobody && next != Nobody && p.Members[next].shares() {
			at = next
			p.moving++
		} else if owner != Nobody && p.Members[owner].Leaving {
			at = Nobody
		} else if owner != Nobody && next != Nobody {
			p.plan.Move[shard] = Nobody // the next owner has gone
		}
		p.planned[shard] = at
		if at != Nobody {
			p.load[at]++
		}
	}
}

// place finds a member for each shard without a planned owner.
func (p *planner) place(which func(shard int) bool) {
	if len(p.receivers) == 0 {
		return
	}
	free := p.extraFree()
	for shard := range p.planned {
		if p.planned[shard] != Nobody || !which(shard) {
			continue
		}
		if p.Owner[shard] != Nobody && p.moving >= p.MaxMoving {
			p.plan.Waiting++
			continue
		}
		to := p.best(shard, free > 0)
		if p.load[to] >= p.floor[to] {
			free--
		}
		p.load[to]++
		p.planned[shard] = to
		if p.Owner[shard] == Nobody {
			p.plan.Grant[shard] = to
			continue
		}
		p.plan.Move[shard] = to
		p.moving++
	}
}

// extraFree returns how many members may still exceed their floor by one.
func (p *planner) extraFree() int {
	free := p.extra
	for _, i := range p.sharers {
		free -= max(0, min(1, p.load[i]-p.floor[i]))
	}
	return free
}

// best returns the member that should get the shard.
func (p *planner) best(shard int, extra bool) int {
	zone := ""
	if p.Zone != nil {
		zone = p.Zone(shard)
	}
	best, bestRank := Nobody, [5]float64{}
	for _, i := range p.receivers {
		m, lacks := p.Members[i], p.target[i]-float64(p.load[i])
		rank := [5]float64{1: float64(m.Generation), 4: lacks}
		switch {
		case p.load[i] < p.floor[i]:
			rank[0] = 2
		case p.load[i] == p.floor[i] && extra && lacks > 0:
			rank[0] = 1
		}
		if zone != "" && m.Zone == zone {
			rank[2] = 1
		}
		if p.Prefer != nil {
			rank[3] = float64(p.Prefer(shard, m.Name))
		}
		order := slices.Compare(rank[:], bestRank[:])
		if best == Nobody || order > 0 || order == 0 && weight(shard, m.Name) > weight(shard, p.Members[best].Name) {
			best, bestRank = i, rank
		}
	}
	return best
}

// balance moves shards from members that have too many.
func (p *planner) balance() {
	if len(p.receivers) == 0 || !p.Rebalance {
		return
	}
	suspect := slices.ContainsFunc(p.Members, func(m Member) bool { return m.Suspect })
	for _, shard := range p.surplus() {
		if suspect || p.moving >= p.MaxMoving {
			p.plan.Waiting++
			continue
		}
		from := p.planned[shard]
		p.load[from]--
		to := p.best(shard, p.extraFree() > 0)
		if to == from { // the members that lack shards will get them from others
			p.load[from]++
			continue
		}
		p.load[to]++
		p.planned[shard] = to
		p.plan.Move[shard] = to
		p.moving++
	}
}

// surplus returns the shards that members have above their limits. A limit is the share,
// rounded down or up. The members that already have more than the share, rounded down,
// keep the right to one more, so that few shards move.
func (p *planner) surplus() []int {
	order := slices.Clone(p.sharers)
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(
			cmp.Compare(min(1, p.load[b]-p.floor[b]), min(1, p.load[a]-p.floor[a])),
			cmp.Compare(p.Members[b].Generation, p.Members[a].Generation),
			cmp.Compare(weight(math.MaxInt32, p.Members[b].Name), weight(math.MaxInt32, p.Members[a].Name)),
		)
	})
	over, extra := make([]int, len(p.Members)), p.extra
	for _, i := range order {
		limit := p.floor[i]
		if extra > 0 && p.target[i] > float64(p.floor[i]) {
			limit++
			extra--
		}
		over[i] = max(0, p.load[i]-limit)
	}
	var shards []int
	for shard, i := range p.planned {
		if i != Nobody && over[i] > 0 && p.Owner[shard] == i && p.Next[shard] == Nobody {
			shards = append(shards, shard)
		}
	}
	slices.SortStableFunc(shards, func(a, b int) int { // first the shards that fit their member least
		return cmp.Compare(weight(a, p.Members[p.planned[a]].Name), weight(b, p.Members[p.planned[b]].Name))
	})
	return slices.DeleteFunc(shards, func(shard int) bool {
		over[p.planned[shard]]--
		return over[p.planned[shard]] < 0
	})
}

// weight returns the rendezvous hash of a shard and a member.
func weight(shard int, member string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(member) {
		h = (h ^ uint64(member[i])) * 1099511628211
	}
	return table.Mix(h ^ table.Mix(uint64(shard)+1))
}
