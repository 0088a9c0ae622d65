// Package leaderelection elects one leader among the replicas of a program that runs in
// Kubernetes. The leader holds a Lease. The package wraps client-go's leader election,
// gives stronger guarantees than client-go, and fails over faster.
//
// Create a clientset as [Config.ClientConfig] describes. Pass the clientset and your
// callbacks to [New], which returns an [Elector]. Then call [Elector.Run]. The leader's
// work must stop when the context that OnStartedLeading receives is cancelled.
//
// # Promises
//
//   - P1, one leader at a time. The work of two processes that campaign for one Lease
//     never overlaps, under two conditions. The clocks of the processes must run at
//     about the same rate, although they may show different times. No process may be
//     frozen.
//   - P2, the work stops before the Lease is released. The Lease is renewed until
//     OnStartedLeading and OnStoppedLeading have returned.
//   - P3, a write affects only its own term. Each write contains the UID and the
//     resourceVersion of the Lease. Therefore the API server refuses a late write after
//     another term has begun.
//   - P4, a term ends as soon as the elector observes another holder in the Lease, or a
//     deletion of the Lease.
//   - P5, terms of one process do not overlap. A new term begins only after the work of
//     the previous term has returned. Each term has a greater fencing [Token] than all
//     earlier terms.
//   - P6, a candidate does not claim a deleted Lease too early. If it has observed a
//     holder, it waits until the holder's Lease would have expired.
//   - P7, callbacks are paired and ordered. Each term calls OnStartedLeading once and
//     then OnStoppedLeading once, before the next term begins. Calls of OnNewLeader do
//     not overlap each other.
//   - P8, IsLeader is never late. After the trust window has ended (see Timing), it
//     returns false, even if no timer has fired yet. "Not promised" names one exception.
//   - P9, Run campaigns until its context is done. Errors of the API server do not end
//     Run. Run ends earlier only with [ErrWorkStillRunning] or [ErrIdentityInUse].
//   - P10, [New] refuses an invalid configuration and names every problem in one error.
//   - P11, if Enabled is false, the Elector leads at once, without a Lease.
//   - P12, a Lease that has not expired is claimed early only on proof that the process of
//     its holder has ended, see "Proof of death".
//
// # Not promised
//
//   - A frozen process, or a process in a paused VM, cannot stop its own work. When the
//     process resumes, IsLeader returns false at once, with one exception: if no clock of
//     a virtual machine has counted the pause, no program in it can detect the pause. However, requests that were
//     already sent continue. Only a store that checks the fencing token can refuse
//     these requests.
//   - A manual edit or deletion of the Lease can cause two leaders, because a candidate
//     does not wait for a leader that it has never observed. Both leaders work until
//     the first leader has observed the change and has stopped its work.
//   - A candidate that uses client-go directly does not keep these promises. It can
//     overwrite the Lease while an elector holds the Lease. It releases the Lease
//     before its work has stopped.
//   - A restore of the cluster's database from a backup can cause two leaders, because
//     the restored Lease may not name the leader, and a candidate may never have observed
//     this leader. Both work until the first has observed the restored Lease.
//   - A server without resourceVersions, such as client-go's fake clientset, does not
//     refuse outdated writes. With such a server, P1 is not promised, and the token is
//     a counter of this process.
//   - If a resourceVersion is not a decimal number of at most 18446744073709551615, an
//     elector does not lead, because it could not compare the number. State.LastError
//     and the log contain the number.
//
// # Timing
//
// The trust window W is how long a leader may work after a successful write of the
// Lease. W starts just before the write is sent:
//
//	trustedUntil = sent + W        W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Other candidates wait for LeaseDuration after they have observed the write. Therefore
// the work has at least LeaseDuration - W to stop. This time is the margin. By default,
// W is 12 s and the margin is 3 s. Late replies, requests that hang and pending
// releases do not shorten the margin. See [Config.Window] and [Config.Margin].
//
//	sent        renewals fail       trustedUntil      others may claim
//	  |------------------------------------|------------------|
//	  0                                  W = 12 s           15 s
//	  |-- the work may continue -----------|-- it must stop --|
//
// A renewal is sent one RetryPeriod after the last confirmed write was sent. If no
// answer arrives within min(RetryPeriod, (W - RetryPeriod)/4), another renewal is sent
// while the first request continues. Therefore four attempts fit into W, even if each
// request hangs. If the clientset was made with [Config.ClientConfig], a new attempt
// does not use a dead connection again. Other clientsets send all requests over one
// HTTP/2 connection, and client-go needs 45 s to detect that this connection is dead.
//
// A slow write costs no term if reads are fast and the write is answered within
// RenewDeadline. If a write takes longer than half of W, its successor is answered too
// late for a trust window that starts when the write was sent. Therefore the elector
// reads the Lease while a write is pending. If such a read shows that the write was not
// applied yet, and a later read shows that it is applied, then W starts when the first
// of these reads was sent. This is safe because reads of the Lease are never outdated:
// they ask for the newest version, and the API server then reads its database.
//
// [Config.Timing] returns the times that result from LeaseDuration, RenewDeadline and
// RetryPeriod. Examples are the longest outage of the API server that a term survives,
// and the longest time without a leader after a crash. With the default durations,
// these times are 8 s and 15.5 s. Run logs the times. [TolerateOutage] and
// [FailOverWithin] return the three durations for a given outage or failover time.
// [Config.AddFlags] adds flags with the names that Kubernetes' own components use.
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
//     ends. The term then ends with [ErrRenewalFailed], and the elector campaigns
//     again.
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
// After a release, only one follower should claim the Lease. An annotation of the Lease
// names this follower, which is called the successor. A follower with a higher priority
// is preferred. Among followers of the same priority, a process that started later is
// preferred, because a rolling update stops the older processes. The successor claims a
// released Lease at once. The other followers wait for 200 to 500 ms. If the followers
// have no right to write the Lease, or if the leader does not use this library, there
// is no successor. The election works without a successor.
//
// # Proof of death
//
// After a crash, candidates wait until the Lease expires. With [WithProofOfDeath] they need
// not wait if the kubelet has reported that the leader's container has terminated. The
// leader records its container and the start of its process in an annotation of the
// Lease. Only the kubelet's record of the end of this container is a proof. The record
// must be in the pod with the same UID, must show an end after the start of the process,
// and must not have the exit code 255 or a reason that means an unknown end. Nothing else
// is a proof. In particular, a pod that does not exist, a failed pod, a lost node, another
// pod of the same name and a new container prove nothing.
//
// The claim is an update of the version of the Lease that the dead process left. If the
// Lease has changed, the API server refuses the claim. A deleted Lease is never claimed
// early. The kubelet, the container runtime and the writers of pods/status are trusted.
// Requests that the dead process had sent may still be applied; a Fence refuses them.
//
// # Reading the code
//
// client-go's LeaderElector is called the engine. It claims, renews and releases the
// Lease through a lock, which decides which requests are sent.
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
//	proof.go                proof of death: the container of this process, and the pod of the holder
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
//   - term, or the term's run: one execution of the callbacks. The Lease is held when a
//     term starts.
//   - trust: the certainty that no other candidate may claim the Lease. Trust ends when
//     W has passed after the last confirmed write was sent.
//   - observation: the state of the Lease in a watch event, in the result of a read or
//     in the reply to a write.
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
// right to watch, the elector polls the Lease. WithProofOfDeath needs the rights to get and
// watch pods. Package rights returns a Role with these rights.
package leaderelection
