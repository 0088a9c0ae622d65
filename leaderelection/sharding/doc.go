// Package sharding divides work among the replicas of a program that runs in Kubernetes.
// All replicas work at the same time, each on its own shards. At most one replica works on
// a shard at any time.
//
// Create a clientset, and pass it to [New] with your callbacks. New returns a [Group]. Call
// [Group.Run] in each replica. Before the program works on a key, it calls [Group.Enter]
// with the key. The package uses only Leases.
//
// The package is experimental. Its protocol was explored and simulated, but it was not yet
// run against a real API server.
//
//	group, err := sharding.New(&sharding.Config{Name: "app", Namespace: namespace, Identity: pod}, clientset, sharding.Callbacks{}, logger)
//	go group.Run(ctx)
//	...
//	ctx, leave, ok := group.Enter(ctx, key)
//	if !ok {
//		return // another replica works on this key
//	}
//	defer leave()
//
// # The Leases of a group
//
//	<group>               the coordinator's Lease, held by an ordinary Elector
//	<group>.m.<identity>  one Lease for each member, held by an ordinary Elector
//	<group>.s.<n>         the table, in slabs of 64 shards, never renewed
//
// An entry of the table contains the owner of a shard, and the next owner while the shard
// moves. Both are terms of members. A member that has lost its Lease begins a new term, and
// the entries that name its old term do not apply to it any more.
//
// # Promises
//
// At most one process works on a shard, under the conditions of promise P1 of package
// leaderelection. A member works on a shard only while both conditions hold:
//
//   - The newest slab that the member has observed is open and names the member's current
//     term as the owner.
//   - The member's own Lease is trusted, by its own clock.
//
// The rules of writing, which package internal/table contains as functions:
//
//   - Every write is a compare-and-swap on the observed version of one Lease.
//   - Only the owner hands a shard over, and only after its work on the shard has returned.
//   - A coordinator grants a shard only if the shard has no owner, or the owner's term is
//     over. It may change the next owner at any time. Therefore two coordinators at once do
//     no harm.
//   - A term is over if its Lease was released, or was sealed, or expired before another
//     term began, or if the same process holds a later term. A term is also over if a read
//     that was sent after the term was observed in the table does not show the term, and one
//     LeaseDuration has passed since the reply. A term that is over stays over.
//   - A coordinator seals a term, which means that it empties the member's Lease, after the
//     Lease was unchanged for its LeaseDuration. The member can then not renew the term.
//   - A new slab is closed. Each member that works on no entry of an earlier slab
//     acknowledges this in the slab. A coordinator opens the slab when all members have
//     acknowledged it that a later read of the members' Leases shows, and one LeaseDuration
//     has passed since the reply. The wait is not needed if the coordinator has never
//     observed a slab of the group.
//
// The token of a hold is the resourceVersion of the slab in which the owner first observed
// that it owns the shard. Each hold has a greater token than all earlier holds of the shard.
// A program can use it for fencing, like the token of a term.
//
// # Questions about the protocol
//
// Package internal/model explores the rules above, and finds a violation if a rule is
// removed. It answers these questions:
//
//   - A term is lost and won again by the same process: entries that name the old term are
//     without an owner for every coordinator, because a process begins a term only after the
//     work of its last term has returned. A coordinator grants them again. Until then, the
//     process does not work on them.
//   - The next owner dies before the handover: its term is not current, so the coordinator
//     withdraws it as the next owner. If it dies after the handover, the shard waits until
//     its term is over.
//   - The next owner changes while the owner drains: the handover is a compare-and-swap, so
//     it goes to the next owner that the owner has observed last, or is refused. If the move
//     is withdrawn, the owner begins a new hold with a greater token. After a handover
//     whose reply is lost, the owner may send the same handover again, because it works on
//     the shard only if a slab without a next owner names it.
//   - A slab is deleted while the watch of an owner stalls: the new slab stays closed until
//     the owner has acknowledged it or its term is over. A member reads the table if it
//     observes nothing for three RetryPeriods, which bounds the wait.
//   - The order of tokens: the versions in which a term owns a shard form an interval, and
//     the intervals of the owners follow each other, also in another slab of the same name,
//     because resourceVersions grow across deletions. So a watch that skips versions does
//     no harm.
//   - A member's Lease is deleted while the member lives: the coordinator waits one
//     LeaseDuration after a read without the term. Earlier, it grants the member's shards
//     only if the process holds a later term.
//   - A seal with proof of death may come at any time after the death, because the work has
//     ended. A proof that comes after the seal changes nothing. This package does not use
//     proofs yet.
//   - Two versions of the program with different numbers of shards: the number in the table
//     counts, and a member logs a warning and adopts it. The number changes only when the
//     whole group was stopped and its table was deleted.
//
// # Not promised
//
//   - The limits of package leaderelection: frozen processes, manual edits of entries, and
//     restored backups.
//   - If all slabs and the Lease of a member are deleted by hand at the same time, and a new
//     coordinator has observed neither, this member may work beside another one until its
//     trust window ends.
//   - If a table's Lease loses its labels by hand, its shards stop until the labels are
//     restored.
//   - Fencing by pod, with a ValidatingAdmissionPolicy, knows one holder, and cannot be used
//     with a group.
//
// # Timing
//
// With a coordinator, a shard without an owner is granted within milliseconds. After a
// crash, nobody works on the shards of the process for one LeaseDuration and about half a
// second, even if this process was the coordinator: its successor has observed the members'
// Leases all the time. In a planned move, nobody works on the shard between the end of the
// work and the event of the handover, which takes one write and one event of a watch. If
// there is no coordinator, the owners continue, and only moves wait.
//
// # Reading the code
//
//	internal/table   pure: the entries, duties, what may be written, when a term is over
//	internal/assign  pure: which member gets which shard
//	internal/model   the exploration of the protocol
//	group.go         the public methods
//	observe.go       the table and the members' Leases as this process has observed them
//	member.go        what a member does: gain, drain, hand over, acknowledge, leave
//	coordinator.go   what the coordinator does: seal, create and open slabs, grant and move
//	writes.go        the coordinator's writes of the table
//	hold.go          one hold, and the context of the work
//
// # Rights
//
// A group needs the rights to create, get, list, watch, update, patch and delete Leases in
// its namespace.
package sharding
