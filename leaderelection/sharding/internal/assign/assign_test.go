package assign

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// group returns members without shards and shards without owners.
func group(members, shards int) Input {
	in := Input{Owner: make([]int, shards), Next: make([]int, shards), MaxMoving: shards, Rebalance: true}
	for i := range members {
		in.Members = append(in.Members, Member{Name: fmt.Sprint("pod-", i), Weight: 1})
	}
	for i := range shards {
		in.Owner[i], in.Next[i] = Nobody, Nobody
	}
	return in
}

// apply carries out the plan, including the handovers.
func (in *Input) apply(p Plan) (moves int) {
	for shard, to := range p.Grant {
		in.Owner[shard] = to
	}
	for shard, to := range p.Move {
		if to != Nobody {
			in.Owner[shard] = to
			moves++
		}
		in.Next[shard] = Nobody
	}
	return moves
}

// settle applies plans until a plan is empty.
func (in *Input) settle(t *testing.T) (moves int) {
	t.Helper()
	for range 1000 {
		p := Make(*in)
		if len(p.Grant)+len(p.Move) == 0 {
			return moves
		}
		moves += in.apply(p)
	}
	t.Fatal("the plans do not end")
	return 0
}

func (in *Input) loads() []int {
	loads := make([]int, len(in.Members))
	for _, m := range in.Owner {
		if m != Nobody {
			loads[m]++
		}
	}
	return loads
}

// check fails the test if a member has not its share, rounded down or up.
func (in *Input) check(t *testing.T) {
	t.Helper()
	total := 0
	for _, m := range in.Members {
		if m.receives() {
			total += m.Weight
		}
	}
	if total == 0 {
		return
	}
	for i, load := range in.loads() {
		low, high := 0, 0
		if m := in.Members[i]; m.receives() {
			low = len(in.Owner) * m.Weight / total
			high = (len(in.Owner)*m.Weight + total - 1) / total
		}
		if load < low || load > high {
			t.Errorf("%+v has %d of %d shards, want %d to %d", in.Members[i], load, len(in.Owner), low, high)
		}
	}
}

func TestMake_GivesEachMemberItsShareWithTheFewestMoves(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		in := group(1+rng.IntN(12), 1+rng.IntN(400))
		in.settle(t)
		in.check(t)
		for range 4 {
			fewest := 0
			if rng.IntN(2) == 0 { // a member joins
				in.Members = append(in.Members, Member{Name: fmt.Sprint("new-", rng.Int()), Weight: 1})
				fewest = len(in.Owner) / len(in.Members)
			} else if len(in.Members) > 1 { // a member dies, or leaves
				gone := rng.IntN(len(in.Members))
				if rng.IntN(2) == 0 {
					for shard, m := range in.Owner {
						if m == gone {
							in.Owner[shard] = Nobody
						}
					}
					in.Members[gone].Weight = 0
				} else if !in.Members[gone].Leaving && in.Members[gone].Weight > 0 {
					fewest = in.loads()[gone]
					in.Members[gone].Leaving = true
				}
				if fewest == 0 && in.loads()[gone] > 0 {
					continue
				}
			}
			receivers := 0
			for _, m := range in.Members {
				if m.receives() {
					receivers++
				}
			}
			if receivers == 0 {
				break
			}
			if in.Members[len(in.Members)-1].receives() && fewest > 0 && in.loads()[len(in.Members)-1] == 0 {
				fewest = len(in.Owner) / receivers
			}
			if moves := in.settle(t); moves > fewest {
				t.Errorf("%d moves, want at most %d: %d shards, %+v", moves, fewest, len(in.Owner), in.Members)
			}
			in.check(t)
		}
	}
}

func TestMake_PrefersGenerationThenZoneThenPreference(t *testing.T) {
	in := group(3, 30)
	for shard := range in.Owner {
		in.Owner[shard] = shard % 3
	}
	in.Members[0].Leaving = true
	in.Members = append(in.Members, Member{Name: "new", Weight: 1, Generation: 2})
	in.Rebalance = false
	p := Make(in)
	for shard, to := range p.Move {
		if to != 3 {
			t.Errorf("shard %d moves to member %d, want the new generation", shard, to)
		}
	}
	if len(p.Move) != 10 {
		t.Errorf("%d moves, want 10", len(p.Move))
	}

	in = group(2, 8)
	in.Members[0].Zone, in.Members[1].Zone = "a", "b"
	in.Zone = func(shard int) string { return []string{"a", "b"}[shard/4] }
	in.Prefer = func(shard int, member string) int { return map[string]int{"pod-0": shard}[member] }
	for shard, to := range Make(in).Grant {
		if to != shard/4 {
			t.Errorf("shard %d is granted to member %d, want the member of its zone", shard, to)
		}
	}
	in.Zone = nil
	in.Prefer = func(shard int, member string) int {
		if (shard%2 == 1) == (member == "pod-0") {
			return 1
		}
		return 0
	}
	for shard, to := range Make(in).Grant {
		if want := 1 - shard%2; to != want {
			t.Errorf("shard %d is granted to member %d, want the preferred member %d", shard, to, want)
		}
	}
}

func TestMake_KeepsLimits(t *testing.T) {
	in := group(2, 100)
	in.settle(t)
	in.Members = append(in.Members, Member{Name: "new", Weight: 1})
	in.MaxMoving = 5
	p := Make(in)
	if len(p.Move) != 5 || p.Waiting != 28 {
		t.Errorf("%d moves and %d waiting, want 5 and 28", len(p.Move), p.Waiting)
	}
	for shard, to := range p.Move {
		in.Next[shard] = to
	}
	if p := Make(in); len(p.Move) != 0 {
		t.Errorf("%d more moves, want none while 5 shards move", len(p.Move))
	}
	in.Members[2].Weight = 0
	p = Make(in)
	if len(p.Move) != 5 {
		t.Errorf("%d moves are withdrawn, want 5", len(p.Move))
	}
	for shard, to := range p.Move {
		if to != Nobody {
			t.Errorf("shard %d moves to %d, want that its owner keeps it", shard, to)
		}
	}
	in = group(2, 10)
	in.settle(t)
	in.Members = append(in.Members, Member{Name: "new", Weight: 1})
	in.Members[0].Suspect = true
	if p := Make(in); len(p.Move) != 0 || p.Waiting == 0 {
		t.Errorf("%d moves and %d waiting while a member is suspect", len(p.Move), p.Waiting)
	}
	in.Members[0].Suspect, in.Rebalance = false, false
	if p := Make(in); len(p.Move) != 0 {
		t.Errorf("%d moves without a rebalance", len(p.Move))
	}
}

func TestMake_LargeGroupsAreFast(t *testing.T) {
	in := group(100, 10000)
	began := time.Now()
	in.settle(t)
	in.check(t)
	in.Members = append(in.Members, Member{Name: "new", Weight: 1})
	if moves := in.settle(t); moves != 99 {
		t.Errorf("%d moves, want 99", moves)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func BenchmarkMake(b *testing.B) {
	in := group(100, 10000)
	in.apply(Make(in))
	in.Members = append(in.Members, Member{Name: "new", Weight: 1})
	for b.Loop() {
		Make(in)
	}
}

// FuzzMake_AnyGroup checks that plans end, and that each member then has its share.
func FuzzMake_AnyGroup(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{0, 1, 2, 255, 9}, byte(3))
	f.Fuzz(func(t *testing.T, members, owners []byte, maxMoving byte) {
		if len(members) == 0 || len(members) > 50 || len(owners) == 0 || len(owners) > 2000 {
			return
		}
		in := group(len(members), len(owners))
		for i, b := range members {
			in.Members[i].Weight, in.Members[i].Leaving, in.Members[i].Generation = int(b%4), b&64 != 0, int64(b>>4&3)
		}
		for i, b := range owners {
			if int(b) < len(members) {
				in.Owner[i] = int(b)
				if to := (int(b) + i) % len(members); i%7 == 0 && to != int(b) {
					in.Next[i] = to
				}
			}
		}
		in.MaxMoving = int(maxMoving) + 1
		for range 5000 {
			p := Make(in)
			if len(p.Grant)+len(p.Move) == 0 {
				break
			}
			for shard, to := range p.Grant {
				if in.Owner[shard] != Nobody || !in.Members[to].receives() {
					t.Fatalf("shard %d of member %d is granted to %+v", shard, in.Owner[shard], in.Members[to])
				}
			}
			in.apply(p)
			for shard, to := range in.Next {
				if to != Nobody && in.Members[to].receives() {
					in.Owner[shard], in.Next[shard] = to, Nobody
				}
			}
		}
		if p := Make(in); len(p.Grant)+len(p.Move) != 0 {
			t.Fatalf("plans do not end: %+v", p)
		}
		for shard, m := range in.Owner { // members without weight keep what nobody else may get
			if m == Nobody && len(members) > 0 {
				for _, other := range in.Members {
					if other.receives() {
						t.Fatalf("shard %d has no owner", shard)
					}
				}
			}
		}
	})
}
