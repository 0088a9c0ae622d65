// Package simulation consists of tests only. It is a seeded simulator of leader
// election in fake time, which runs the code that ships.
//
// A seed determines a schedule: ten minutes of simulated time in which faults are
// injected. Networks of single candidates are cut, delayed and lose replies.
// Requests arrive after their sender gave up. Watches stall. The API server goes
// down. Processes restart with new and old identities, crash and step down. Work
// does not stop in time. Then all faults end. During the whole run a referee
// checks these rules:
//
//   - At most one candidate works, and IsLeader is true for at most one.
//   - IsLeader is true only while the work's context is live.
//   - Tokens only grow, and callbacks are paired and in order.
//   - No accepted write claims a Lease that is held. No accepted write releases
//     another candidate's term, or a term whose work is running.
//   - A lost term sends no more writes.
//   - After the faults, there is exactly one leader within the time that the
//     timings allow, and it remains the leader.
//   - Run returns nil, or ErrWorkStillRunning if the work does not stop. No
//     goroutine is left.
//
// A seed determines the faults and their times. It does not determine how
// goroutines interleave. A failure therefore prints its trace, and a command that
// repeats its schedule many times:
//
//	go test ./leaderelection/simulation -run 'TestSimulation/everything' -sim.seed=17 -sim.repeat=300
//
// # Kinds of schedules
//
//   - "mild" injects a network fault into each candidate every 75 s on average,
//     with the default timings.
//   - "network" injects network faults more often, and outages of the API server.
//   - "everything" uses random timings and all faults. Processes restart, crash and
//     step down, and work does not stop in time.
//   - "operators" adds manual edits: the Lease is deleted, edited and given to
//     another holder. Such an edit can cause two leaders, until the first one
//     observes it. The referee excuses such an overlap.
//   - "rewinds" restores the server from backups, so that resourceVersions repeat.
//     Overlaps are excused, and only counted.
//
// # Comparison with client-go
//
// The same schedules are run with client-go's LeaderElector, to show that the
// referee detects broken rules. They are also run with candidates of both
// implementations on one Lease, as during a migration. Odd seeds migrate from
// client-go to Incumbent, even seeds back. There the referee attributes each
// overlap. client-go caused it in these cases, and Incumbent in all others:
//
//   - Its candidate continues its work after its Lease expired or was released.
//   - It claims or clears the Lease of an Elector before that Lease expired.
//   - It starts a term after another candidate claimed the Lease.
//
// The test fails if Incumbent caused an overlap. All other rules apply to Electors
// in these runs too.
//
// A table shows, for each kind and implementation, the share of the time with a
// leader, and the number of schedules with two leaders at once:
//
//	make sim                                     ten thousand schedules, and the table
//	go test -C leaderelection/simulation -v      a few of each kind
//
// The flags -sim.schedules, -sim.clientgo and -sim.mixed set the number of
// schedules of each kind for each implementation. The environment variables
// SIM_SCHEDULES, SIM_CLIENTGO and SIM_MIXED do the same.
//
// # What the simulator does not cover
//
// Promise P1 of package leaderelection is that at most one candidate works. The
// simulator does not cover these threats to it:
//
//   - Clocks that tick at different rates: all candidates share one clock. The
//     margin for this is arithmetic; see package leaderelection.
//   - Frozen processes and sleeping machines: fake time cannot stop for one
//     candidate only. make demo and make soak freeze real processes. Unit tests
//     pass readings to the suspend-aware clock.
//   - A timer that stops the work late because the CPU is busy: in fake time a
//     goroutine takes no time. make soak runs real processes on a loaded machine.
//   - Several API servers, watch caches that lag behind each other, and a real
//     etcd: the tests in envtest and make soak use real servers.
//   - Data races: goroutines in fake time mostly run one after another. A hundred
//     schedules, and the integration tests, run under the race detector.
//   - Several candidates in one process that share a Lease, and more than three
//     candidates.
package simulation
