// Package model explores the protocol of package sharding. It contains only tests. The
// tests enumerate all states that a small group can reach, breadth first, and check each
// state.
//
// The group has three members, two coordinators and one slab with one shard. Either
// coordinator may be outdated. Every request may be applied late or never, and the sender
// does not learn which. Every observation of a member may be late, and may skip versions.
// Terms end and begin again. Leases and the slab are deleted by hand. The functions of
// package table decide who may work and what may be written. The model adds the facts of
// time that promise P1 of package leaderelection guarantees:
//
//   - A Lease that a coordinator may seal belongs to a term whose work has stopped.
//   - One LeaseDuration after a read that does not show a term, the term's work has
//     stopped.
//
// The checks:
//
//   - At most one member works on the shard.
//   - Each hold has a greater token than all earlier holds.
//   - If the faults end, the shard has an owner at work after a bounded number of steps.
//
// Each rule can be removed. Then the exploration must find a violation, so the checks can
// fail.
//
//	go test ./leaderelection/sharding/internal/model -model.large -v
package model
