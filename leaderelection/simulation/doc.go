// Package simulation tests leader election with a simulator in fake time. It
// contains only tests. The simulator runs the real code of the library.
//
// The simulator generates a schedule from a seed. A schedule has ten minutes of
// simulated time in which faults are injected. The network of a candidate is
// cut, delays messages or loses replies. Requests arrive after the sender
// has given up. Watches stall. The API server goes down. Processes crash, step down,
// and restart with the same or another identity. Work does not stop in time.
// After ten minutes, all faults end. During the whole run, a referee checks
// these rules:
//
//   - At most one candidate works, and IsLeader is true for at most one
//     candidate.
//   - IsLeader is true only while the context of the work is live.
//   - Each term has a higher fencing token than all earlier terms.
//   - Callbacks are called in the right order, and each start is followed by a
//     stop.
//   - No accepted write claims a Lease that another candidate holds, unless the
//     process of this candidate has ended and the candidate uses proof of death.
//   - No accepted write releases another candidate's term, or a term whose work
//     still runs.
//   - A candidate sends no writes for a term that it has lost.
//   - After the end of the faults, exactly one candidate becomes the leader and
//     remains the leader. The configured durations limit how long this may
//     take.
//   - Run returns nil, or ErrWorkStillRunning if the work does not stop.
//   - No goroutine is left at the end.
//
// A seed determines the faults and their times, but not the order in which
// goroutines run. Therefore the same seed can pass in one run and fail in
// another run. A failure prints a trace of the run, and a command that repeats
// the schedule many times:
//
//	go test ./leaderelection/simulation -run 'TestSimulation/everything' -sim.seed=17 -sim.repeat=300
//
// # Kinds of schedules
//
//   - "mild" injects a network fault into each candidate every 75 s on average.
//     The API server has a fault (an outage, a restart or a compaction) every
//     20 minutes on average. The candidates use the default durations.
//   - "network" has the same faults as "mild", but more often. Each candidate
//     has a network fault every 60 s on average. The API server has a fault
//     every 150 s on average.
//   - "everything" uses random durations and more kinds of network faults. Each
//     candidate has a network fault every 25 s on average. The API server has a
//     fault every 150 s on average. Processes restart, crash and step down. In
//     some schedules, work does not stop in time.
//   - "operators" has the same faults as "everything". In addition, the Lease is
//     edited or deleted manually. Such a change can cause two leaders, until
//     the first leader observes the change. The referee excuses this overlap.
//   - "rewinds" has the same network faults, server faults, restarts, crashes
//     and step-downs as "everything". In addition, the server is restored from
//     backups. The candidates use the default durations, and work always stops
//     in time. After a restore, resourceVersions repeat. The referee excuses
//     overlaps after a restore.
//   - "kubelets" has the same faults as "everything". In addition, each replica
//     runs in a pod and uses proof of death. Kubelets report late, stop, lose
//     containers and do not know how they ended, and people delete pods by
//     force. The process may then live on beside the next container or pod. The
//     network faults do not concern requests for pods.
//
// # Comparison with client-go
//
// The same schedules are run with client-go's LeaderElector, to show that the
// referee detects broken rules. In further runs, candidates that use client-go
// and candidates that use this library share one Lease, as during a migration.
// Schedules with odd seeds migrate from client-go to this library. Schedules
// with even seeds migrate from this library to client-go. In these runs, the
// referee determines which implementation caused an overlap. client-go caused
// the overlap in these cases:
//
//   - A candidate that uses client-go continues its work after the Lease has
//     expired or was released.
//   - A candidate that uses client-go claims or clears a Lease that an Elector
//     holds, before the Lease has expired.
//   - A candidate that uses client-go starts a term after another candidate has
//     claimed the Lease.
//
// This library caused all other overlaps, and each of them is a failure of the
// test. In these runs, Electors must also follow all other rules.
//
// A table shows the results for each kind and implementation. It contains the
// share of the time with a leader, and the number of schedules with two leaders
// at once:
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
// simulator does not cover these threats to P1:
//
//   - Clocks that tick at different rates: all candidates share one clock.
//     Package leaderelection describes which differences the margin allows.
//   - Frozen processes and sleeping machines: fake time cannot stop for one
//     candidate only. make demo and make soak freeze real processes. Unit tests
//     pass artificial readings to the suspend-aware clock.
//   - A timer that stops the work late because the CPU is busy: in fake time, a
//     goroutine takes no time. make soak runs real processes on a loaded
//     machine.
//   - Several API servers, watch caches that lag behind each other, and a real
//     etcd: the tests in envtest and make soak use real servers.
//   - Data races: in fake time, goroutines mostly run one after another.
//     Therefore a hundred schedules and the integration tests also run under
//     the race detector.
//   - Several candidates in one process that share a Lease.
//   - More than three candidates.
package simulation
