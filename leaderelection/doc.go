// Package leaderelection elects one leader among the replicas of a Kubernetes program,
// on a Lease. It wraps client-go's leader election and is stricter and faster.
//
// Create an [Elector] with a clientset, made as [Config.ClientConfig] describes, and
// callbacks, and call its Run. The leader's work lives in the context that
// OnStartedLeading receives.
//
// # Promises
//
//   - P1, one at a time. The work of two processes that campaign for one Lease never
//     overlaps, provided that their clocks tick at about the same rate (the readings may
//     differ by hours) and that the process is not frozen.
//   - P2, work first, then the Lease. The Lease is renewed until OnStartedLeading and
//     OnStoppedLeading have returned, and released only then.
//   - P3, only its own term. Each write carries the UID and resourceVersion of the term's
//     last write. A late request never touches another term.
//   - P4, a foreign holder ends the term at once, and so does a deleted Lease.
//   - P5, terms do not blur. A new term begins after the last one's work has returned,
//     and has a greater fencing [Token].
//   - P6, a deleted Lease is no shortcut. A candidate that observed a holder waits until
//     that holder's LeaseDuration has expired.
//   - P7, callbacks are serial, ordered and paired.
//   - P8, answers are honest. IsLeader is false from the end of trust on, whether or not
//     a timer has fired.
//   - P9, Run campaigns until its context is done, through errors of every kind.
//   - P10, bad configuration is refused by [New], with every problem in one error.
//   - P11, without Enabled the Elector leads at once, without a Lease.
//
// # Not promised
//
//   - A frozen process, or a paused VM, cannot stop itself. When it resumes, IsLeader is
//     false at once, but a request under way continues. Only fencing by the token helps.
//   - Someone who edits or deletes the Lease by hand can make two leaders, for as long as
//     the first takes to notice and to stop: a candidate that has never observed the old
//     holder does not wait for it.
//   - A bare client-go candidate on the same Lease keeps its own defects. It can wipe the
//     elector's term, and it releases before its work has stopped.
//   - On a server without resourceVersions, such as client-go's fake clientset, there is
//     no compare-and-swap. Nothing of P1 holds there, and the token is a local counter.
//
// # Timing
//
// Trust counts from the moment before a write was sent:
//
//	trustedUntil = sent + W        W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates claim no sooner than LeaseDuration after they last observed a change
// of the Lease, and that change happened after the write was sent. So the work has
// LeaseDuration - W to stop: by default W is 12 s, and the margin is 3 s. Nothing narrows
// the margin: not a late reply, not a hung request, not a release in flight. See
// [Config.Window] and [Config.Margin].
//
//	sent        renewals fail       trustedUntil      others may claim
//	  |------------------------------------|------------------|
//	  0                                  W = 12 s           15 s
//	  |-- the work may continue -----------|-- it must stop --|
//
// A renewal is sent one RetryPeriod after the last one. If it is not answered after
// min(RetryPeriod, (W - RetryPeriod)/4), the next one overlaps it. A request that hangs
// therefore leaves four attempts, and a slow server still succeeds. A dead connection
// leaves them, too, if the clientset was made with [Config.ClientConfig]. Otherwise
// client-go sends all attempts over one HTTP/2 connection, which the application shares.
// When that connection is dead, the term is lost, and the elector receives nothing for
// 45 s.
//
// [Config.Timing] returns what follows: how long an outage of the API server may last,
// and how long nobody leads after a stop, a crash or a partition. Run logs it once.
// [TolerateOutage] and [FailOverWithin] return the three durations for a wish. With the
// defaults a term survives every outage of 8 s, and after a crash nobody leads for at
// most 15.5 s. [Config.AddFlags] adds the flags of Kubernetes' own components.
//
// # States
//
//	            the Lease may be claimed            the claim is confirmed
//	following -------------------------> claiming ----------------------> leading
//	    ^  ^                                |                              |    |
//	    |  |        refused: a fresh read   |       cancelled, StepDown    |    | trust has ended,
//	    |  +--------------------------------+                              |    | foreign holder, deleted
//	    |                                                                  v    v
//	    |                       work has returned, Lease released      stopping  lost
//	    +------------------------------------------------------------------+    |
//	    |                       work has returned, nothing is written           |
//	    +-----------------------------------------------------------------------+
//	                            work has not: Run returns ErrWorkStillRunning
//
// # Failures
//
//   - The API server does not answer: the leader continues until trust ends, then its
//     work is cancelled ([ErrRenewalFailed]). It campaigns on.
//   - A reply is lost or late: the write is confirmed by a read or by the watch, and
//     counts from its own sending.
//   - The watch is refused, stalls or ends: the Lease is polled as client-go does.
//   - Another holder was written into the Lease: [ErrOvertaken]. The Lease was deleted:
//     [ErrLeaseDeleted]. The database was restored from a backup: [ErrHistoryRewound].
//   - The work does not stop in time: [ErrWorkStillRunning], and nothing is released.
//     Exit the process.
//   - Two processes have one identity: [ErrIdentityInUse] for the one that does not hold
//     the Lease.
//
// # The successor
//
// A release should wake one follower and not all of them. So one follower is nominated
// as successor in an annotation of the Lease: the one with the highest priority, then the
// one with the newest process, which in a rolling update is one that stays. Among
// processes of about the same age, the first one nominated stays. The successor claims a
// released Lease at once, the others after 200 to 500 ms. Without the right to write the
// Lease, or with foreign leaders, there is no successor, and everything else works.
//
// # Reading the code
//
// client-go's LeaderElector, the engine, writes, renews and releases through a lock that
// decides what may be sent. Every decision is a pure function of the observations, the
// held Lease and the time.
//
//	config.go, timing.go    the settings; every formula of a duration and every jitter
//	internal/lease          the pure model: what an observation means, when a Lease may be claimed, annotations
//	internal/clock          time that counts sleep, trust, heartbeats
//	run.go                  the follower's story: wait until the Lease may be claimed, claim it, lead, again
//	lead.go, held.go        the leader's story: work, stop, release; the phases of a held Lease
//	attempt.go              claim, renew and release: what client-go's elector may send
//	writes.go               issue, send and confirm writes
//	observe.go              the observer, and what an observation changes
//	nominate.go             the successor
//	clientgo.go, store.go   client-go's elector; the requests for the Lease
//	elector.go              the public methods
//
// Where a change belongs:
//
//   - An option: options.go, and the file of the behaviour that it changes.
//   - A delay, timeout or jitter: timing.go.
//   - A new reason for the loss of the Lease: errors.go, internal/lease/held.go where an
//     observation finds it, and held.go.
//   - A fix of claims, renewals or the release: attempt.go; of the order in which a term
//     ends: lead.go.
//   - A new metric: package metrics; trace.go if it needs a new event.
//
// The words in the code:
//
//   - held Lease: the hold of this process on the Lease, from the claim to the release or
//     the loss.
//   - term, or the term's run: the callbacks of one term, from their start to their end.
//     A term lies within a held Lease.
//   - trust: the time for which the last confirmed write keeps others from claiming.
//   - observation: one report about the Lease, by a watch, a read or the reply to a write.
//   - unacknowledged, confirmed: a write that may have been applied, and one that is known
//     to be.
//
// # Operations
//
// [WithTrace] reports what an Elector does. Packages of their own use it: metrics
// (Prometheus), health (probes) and status (a page). [WithEventRecorder] records events
// on the Lease, and with [WithPod] on the pod. [Elector.Stuck] reports when only a new
// process helps. [WithCallbackMiddleware] wraps the callbacks: package routing labels the
// leader's pod with it. [WithBackgroundTask] runs a function during the campaign: AtStart
// of package rights logs missing rights with it.
//
// # Rights
//
// In the namespace of the Lease: create, which cannot be limited to a name; get, update
// and watch on the one Lease. Without watch the Lease is polled. Package rights returns
// the Role.
package leaderelection
