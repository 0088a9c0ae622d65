// Package simulation is nothing but tests: a seeded simulator of leader
// election, in fake time, over the code that ships.
//
// A seed makes a schedule: for ten minutes of simulated time, networks of
// single candidates are cut, slowed down and made to lose replies, requests
// arrive after their sender gave up, watches stall, the API server goes down,
// processes are restarted with new and old identities, crash and step down, work
// does not stop in time. Then everything heals. All the time a referee looks on:
//
//   - at most one candidate works, and at most one IsLeader answers true;
//   - IsLeader is true only while the work's context is live;
//   - tokens only grow, and callbacks are paired and in order;
//   - no accepted write claims a Lease that is held, and none releases one
//     that is not its sender's or whose work still runs;
//   - a term that was lost sends no write any more;
//   - after the faults there is exactly one leader within the time that the
//     timings allow, and it stays;
//   - Run returns nil, or ErrWorkStillRunning if the work does not stop, and no
//     goroutine is left.
//
// A seed fixes the faults and their times. It does not fix the interleaving,
// which is Go's own, so a failure prints its trace, and a command that repeats
// its schedule many times:
//
//	go test ./leaderelection/simulation -run 'TestSimulation/everything' -sim.seed=17 -sim.repeat=300
//
// # Kinds of schedules
//
// The kinds are told apart by what they add: "mild" breaks the network of each
// candidate every 75 s on average, with the default timings; "network" does so
// more often, and takes the API server down; "everything" has other timings,
// processes that restart, crash and step down, work that does not stop, and every
// fault there is; "operators" adds people who delete, edit and give away the
// Lease, who may make two leaders for as long as the first takes to notice;
// "rewinds" restores the server from backups, so that resourceVersions come back
// and overlaps can be counted only.
//
// # Fleets
//
// The same schedules are run with bare client-go candidates, to show that the
// referee finds who breaks the rules, and with candidates of both sorts on one
// Lease, as in a migration: those of odd seeds become ours when they are
// restarted, those of even seeds become client-go's. There the referee asks of
// each overlap who is to blame. client-go is if its candidate works on after its
// time or after its release, or if it claimed or wiped the term of one of ours
// whose time had not run out. For everything else ours answer, and the test
// fails. Ours keep all the other rules in such company too.
//
// A table tells, for each kind and fleet, how much of the time there was a leader
// and in how many schedules there were two:
//
//	make sim                                     ten thousand schedules, and the table
//	go test -C leaderelection/simulation -v      a few of each kind
//
// -sim.schedules, -sim.clientgo and -sim.mixed say how many schedules of each
// kind are run with each fleet; SIM_SCHEDULES, SIM_CLIENTGO and SIM_MIXED do the
// same.
//
// # What of P1 it cannot reach
//
//   - Clocks that tick at different rates: all candidates share one clock. The
//     margin that covers this is arithmetic, see the package leaderelection.
//   - Processes that are frozen, and machines that sleep: fake time stands still
//     for nobody alone. What a process does that wakes is shown by make demo and
//     make soak; the clock of sleep by unit tests with given readings.
//   - Work that a timer ends late because the processor is busy: in fake time a
//     goroutine needs no time. Real processes on a loaded machine show it.
//   - More than one API server, watch caches that lag behind each other, and a
//     real etcd: that is envtest and make soak.
//   - Data races: a bubble runs its goroutines one after another for the most
//     part, so a hundred schedules are run under the race detector, and the
//     integration tests.
//   - More than one candidate in one process that shares a Lease, and more than
//     three candidates.
package simulation
