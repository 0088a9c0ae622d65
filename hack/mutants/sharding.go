package main

var (
	sharded  = tests{pkg: "./leaderelection/sharding", run: "TestSimulation|TestGroup|TestEnter"}
	entries  = tests{pkg: "./leaderelection/sharding/internal/table"}
	assigned = tests{pkg: "./leaderelection/sharding/internal/assign"}
)

// sharding lists the mutations of package sharding and the packages below it.
var sharding = []mutation{
	{"a closed slab has owners", "leaderelection/sharding/internal/table: Slab.Duty",
		replace("!$s.Open", "false"), tests{pkg: "./leaderelection/sharding/internal/table", run: "TestSlab"}},
	{"an entry counts for a later term of the member", "leaderelection/sharding/internal/table: Slab.Duty",
		replace("$s.Entries[$i].Owner != $own", "$s.Entries[$i].Owner.Member != $own.Member"), entries},
	{"an owner is replaced while its term lives", "leaderelection/sharding/internal/table: Slab.Grant",
		replace("!$owner.IsZero() && !$over", "false"), entries},
	{"a closed slab is granted", "leaderelection/sharding/internal/table: Slab.Grant",
		replace("!$s.Open", "false"), entries},
	{"a shard without a next owner is handed over", "leaderelection/sharding/internal/table: Slab.HandOver",
		replace("$s.Duty($own, $i) != Drain", "$s.Duty($own, $i) == Rest"), entries},
	{"a slab opens without a wait", "leaderelection/sharding/internal/table: Slab.MayOpen",
		replace("!$waited && !$s.First", "false"), entries},
	{"a slab opens without acknowledgements", "leaderelection/sharding/internal/table: Slab.MayOpen",
		replace("!slices.Contains($s.Acked, $t)", "false"), entries},
	{"a term that the Lease does not name is over", "leaderelection/sharding/internal/table: MemberLease.Over",
		replace("return waited", "return true"), entries},
	{"a term that holds the Lease is over after a wait", "leaderelection/sharding/internal/table: MemberLease.Over",
		replace("$m.Current == $t", "false"), entries},
	{"more shards move than needed", "leaderelection/sharding/internal/assign: planner.surplus",
		replace("max(0, $p.load[$i]-$limit)", "$p.load[$i]"), assigned},
	{"moves are not limited", "leaderelection/sharding/internal/assign: planner.balance",
		replace("$p.moving >= $p.MaxMoving", "false"), assigned},
	{"shards move while a member is suspect", "leaderelection/sharding/internal/assign: planner.balance",
		replace("$suspect || $moving >= $most", "$suspect && false || $moving >= $most"), assigned},
	{"a coordinator grants before it has waited", "leaderelection/sharding: coordinator.overLocked",
		replace("return $m.Over($t, waited)", "_ = waited; return true"), sharded},
	{"a coordinator seals a term that is trusted", "leaderelection/sharding: coordinator.sealLocked",
		replace("$s.HeldUntil()", "$s.Since.Add(2000000000)"), sharded},
	{"a shard is handed over before its work has returned", "leaderelection/sharding: Group.closeLocked",
		remove("<-$h.gained"), sharded},
	{"a shard is handed over before everybody has left", "leaderelection/sharding: Group.closeLocked",
		remove("<-$h.idle"), sharded},
	{"a term ends before its work has returned", "leaderelection/sharding: Group.runTerm",
		replace("<-$h.done", "_ = $h.done"), sharded},
	{"an old observation replaces a newer one", "leaderelection/sharding: Group.observeSlab",
		replace("$version <= $g.table.slabs[$n].version", "false"), sharded},
	{"a slab is acknowledged while work runs", "leaderelection/sharding: Group.reactLocked",
		replace("$free && $next.NeedsAck($term) && $rest", "$next.NeedsAck($term) && $rest"), sharded},
	{"a draining shard accepts work", "leaderelection/sharding: holdRun.enter",
		replace("$h.entered.Add(1) >= closedBit", "$h.entered.Add(1) < 0"), tests{pkg: "./leaderelection/sharding", run: "TestHold"}},
	{"work begins without trust", "leaderelection/sharding: holdRun.enter",
		replace("!$h.trusted()", "false"), tests{pkg: "./leaderelection/sharding", run: "TestHold"}},
	{"leave counts twice", "leaderelection/sharding: entry.leave",
		replace("$e.left.CompareAndSwap(false, true)", "true"), tests{pkg: "./leaderelection/sharding", run: "TestEnter|TestHold"}},
}
