// Package leaderelection elects one leader among the replicas of a program that runs in
// Kubernetes. The leader holds a Lease. The package wraps client-go's leader election,
// gives stronger guarantees than client-go, and fails over faster.
//
// Create a clientset as [Config.ClientConfig] describes. Create an [Elector] with [New]
// from this clientset and your callbacks, and call [Elector.Run]. The leader's work
// must run only until the context that OnStartedLeading receives is cancelled.
//
// # Promises
//
//   - P1, one leader at a time. The work of two processes that campaign for one Lease
//     never overlaps. Two conditions apply: their clocks run at about the same rate
//     (the times that they show may differ by hours), and no process is frozen.
//   - P2, the work stops before the Lease is released. The Lease is renewed until
//     OnStartedLeading and OnStoppedLeading have returned, and is released only then.
//   - P3, a write affects only its own term. Each write carries the UID and the
//     resourceVersion of the Lease that its term holds. The API server therefore
//     refuses a late request once another term has begun.
//   - P4, a term ends as soon as the elector observes another holder in the Lease, or a
//     deletion of the Lease.
//   - P5, terms of one process do not overlap. A new term begins only after the work of
//     the previous term has returned, and has a greater fencing [Token] than every
//     earlier term.
//   - P6, a deletion of the Lease does not speed up a claim. A candidate that observed
//     a holder waits until the holder's Lease would have expired.
//   - P7, callbacks are paired and ordered. Each OnStartedLeading is followed by one
//     OnStoppedLeading, and the callbacks of the next term follow after that. Calls of
//     OnNewLeader do not overlap each other.
//   - P8, IsLeader is never late. It returns false from the end of the trust window on
//     (see Timing), even if no timer has fired yet.
//   - P9, Run campaigns until its context is done. Errors of the API server do not end
//     Run. Run ends earlier only with [ErrWorkStillRunning] or [ErrIdentityInUse].
//   - P10, [New] refuses an invalid configuration and names every problem in one error.
//   - P11, if Enabled is false, the Elector leads at once, without a Lease.
//
// # Not promised
//
//   - A frozen process, or a process in a paused VM, cannot stop its own work. When the
//     process resumes, IsLeader returns false at once, but a request that was already
//     sent continues. Only a store that checks the fencing token can refuse this
//     request.
//   - A manual edit or deletion of the Lease can cause two leaders. The reason is that
//     a candidate does not wait for a leader that it has never observed. Both leaders
//     work until the first leader has observed the change and its work has stopped.
//   - A candidate that uses client-go directly on the same Lease has the defects of
//     client-go. It can overwrite the Lease while an elector holds it, and it releases
//     the Lease before its work has stopped.
//   - A server without resourceVersions, such as client-go's fake clientset, has no
//     compare-and-swap. P1 does not hold on such a server, and the token is a counter
//     of this process.
//
// # Timing
//
// The trust window W is the time for which a successful write of the Lease entitles its
// sender to lead. It starts just before the write is sent:
//
//	trustedUntil = sent + W        W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates claim the Lease no sooner than LeaseDuration after they last
// observed a change of the Lease. That change happened after the write was sent.
// Therefore the work always has LeaseDuration - W to stop. This time is the margin. By
// default W is 12 s and the margin is 3 s. Late replies, requests that hang and pending
// releases do not shorten the margin. See [Config.Window] and [Config.Margin].
//
//	sent        renewals fail       trustedUntil      others may claim
//	  |------------------------------------|------------------|
//	  0                                  W = 12 s           15 s
//	  |-- the work may continue -----------|-- it must stop --|
//
// A renewal is sent one RetryPeriod after the last confirmed write was sent. If it is
// not answered within min(RetryPeriod, (W - RetryPeriod)/4), another renewal is sent
// while the first request continues. Therefore four attempts fit into W even if each
// request hangs, and a slow answer still counts. If a connection is dead, the other
// attempts succeed only if the clientset was made with [Config.ClientConfig]. Otherwise
// client-go sends all attempts over one HTTP/2 connection, which it shares with the
// application. If that connection is dead, the term is lost, and the elector receives
// nothing for 45 s.
//
// [Config.Timing] returns the times that result from the three durations: how long an
// outage of the API server may last, and how long nobody leads after a stop, a crash or
// a partition. Run logs these times once. [TolerateOutage] and [FailOverWithin] return
// the three durations for a desired outage or failover time. With the default
// durations, a term survives every outage of up to 8 s, and after a crash nobody leads
// for at most 15.5 s. [Config.AddFlags] adds flags with the names that Kubernetes' own
// components use.
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
//	                            work has not returned: Run returns ErrWorkStillRunning
//
// # Failures
//
//   - If the API server does not answer, the leader continues until the trust window
//     ends. Then its work is cancelled with [ErrRenewalFailed], and the elector
//     campaigns again.
//   - If a reply is lost or late, a read or the watch confirms the write. The trust
//     window starts when this write was sent.
//   - If the watch is refused, stalls or ends, the elector polls the Lease as often as
//     client-go does.
//   - A term ends with [ErrOvertaken] if another holder was written into the Lease. It
//     ends with [ErrLeaseDeleted] if the Lease was deleted. It ends with
//     [ErrHistoryRewound] if the cluster's database was restored from a backup.
//   - If the work does not stop in time, Run returns [ErrWorkStillRunning] and does not
//     release the Lease. Exit the process.
//   - If two processes use one identity, Run returns [ErrIdentityInUse] in the process
//     that does not hold the Lease.
//
// # The successor
//
// After a release, one follower should claim the Lease, and not all followers at once.
// Therefore an annotation of the Lease names one follower as the successor. A follower
// with a higher priority is preferred. Among followers of the same priority, a process
// that started later is preferred, because a rolling update stops the older processes.
// Among processes of about the same age, the follower that was nominated first remains
// the successor. The successor claims a released Lease at once, and the other followers
// after 200 to 500 ms. If the followers may not write the Lease, or if the leader does
// not use this library, there is no successor. The election works without a successor.
//
// # Reading the code
//
// client-go's LeaderElector is called the engine. It claims, renews and releases the
// Lease through a lock that decides which requests are sent. Every decision is a pure
// function of the observations, the held Lease and the time.
//
//	config.go, timing.go    the settings; every formula of a duration and every jitter
//	internal/lease          the pure model: what an observation means, when a Lease may be claimed, annotations
//	internal/clock          time that counts sleep, trust, heartbeats
//	run.go                  what a follower does: wait until the Lease may be claimed, claim it, lead, and repeat
//	lead.go, held.go        what a leader does: work, stop, release; the phases of a held Lease
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
//   - A new reason for the loss of the Lease: errors.go and held.go (see releaseError),
//     internal/lease/held.go if an observation shows the loss, and the reasons in package
//     metrics.
//   - A fix of claims, renewals or the release: attempt.go. A fix of the order in which
//     a term ends: lead.go.
//   - A new metric: metrics.go and doc.go of package metrics; trace.go if the metric needs
//     a new event.
//
// The words in the code:
//
//   - held Lease: the Lease while this process holds it, from the claim to the release
//     or the loss.
//   - term, or the term's run: the callbacks of one term, from their start to their
//     end. A term lies within a held Lease.
//   - trust: the certainty that no other candidate may claim the Lease. It lasts for W
//     after the last confirmed write was sent.
//   - observation: one report about the Lease. It comes from a watch, a read or the
//     reply to a write.
//   - unacknowledged write: a write that may or may not have been applied. A confirmed
//     write is known to have been applied.
//
// # Operations
//
// [WithTrace] reports what an Elector does. The packages metrics (Prometheus), health
// (probes) and status (a page) use it. [WithEventRecorder] records events on the Lease,
// and with [WithPod] also on the pod. [Elector.Stuck] returns an error if only a
// restart of the process helps. [WithCallbackMiddleware] wraps the callbacks. Package
// routing uses it to label the leader's pod. [WithBackgroundTask] runs a function while
// Run campaigns. Package rights uses it to log missing rights.
//
// # Rights
//
// An elector needs the right to create Leases in its namespace, and to get, update and
// watch its own Lease. The right to create cannot be limited to one name. Without the
// right to watch, the elector polls the Lease. Package rights returns a Role with these
// rights.
package leaderelection
