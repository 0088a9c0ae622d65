// Package simulation is nothing but tests: a seeded simulator of leader
// election, in fake time, over the code that ships.
//
// A seed makes a schedule: for ten minutes of simulated time, networks of
// single candidates are cut, slowed down and made to lose replies, requests
// arrive after their sender gave up, watches stall, the API server goes down,
// processes are restarted and crash. Then everything heals. All the time a
// referee looks on:
//
//   - at most one candidate works, and at most one IsLeader answers true;
//   - IsLeader is true only while the work's context is live;
//   - tokens only grow, and callbacks are paired and in order;
//   - no accepted write claims a Lease that is held, and none releases one
//     that is not its sender's or whose work still runs;
//   - after the faults there is exactly one leader, and it stays;
//   - Run returns nil, and no goroutine is left.
//
// A seed fixes the faults and their times. It does not fix the interleaving,
// which is Go's own, so a failure prints its trace, and a command that repeats
// its schedule many times:
//
//	go test ./leaderelection/simulation -run 'TestSimulation/everything' -sim.seed=17 -sim.repeat=300
//
// -sim.schedules=N (or SIM_SCHEDULES=N) runs the first N schedules of each kind
// instead of the few that fit into a test run. Bare client-go is run on such
// schedules too, on -sim.clientgo=N of each kind, to show that the referee finds
// who breaks the rules.
//
// The kinds are told apart by what they add: "network" has the default timings
// and broken networks only; "everything" has other timings, processes that
// restart, crash and step down, and every fault there is; "operators" adds
// people who delete, edit and give away the Lease, who may make two leaders for
// as long as the first takes to notice; "rewinds" restores the server from
// backups, so that resourceVersions come back and overlaps can be counted only.
//
// # What it cannot reach
//
// Clocks that tick at different rates, processes that are frozen or sleep, and
// more than one API server: those need real processes.
package simulation
