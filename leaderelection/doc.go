// Package leaderelection elects one leader among the replicas of a Kubernetes
// program, on a Lease. It wraps client-go's leader election and is stricter and
// faster than that.
//
// Give an [Elector] a clientset, made as [Config.ClientConfig] says, and callbacks,
// and call its Run: that is all. The work of the leader lives in the context that
// OnStartedLeading is given.
//
// # What is promised
//
//   - P1, one at a time. The work of two processes that campaign for one Lease
//     never overlaps, as long as their clocks tick at about the same rate (the
//     readings may differ by hours) and the process is not frozen.
//   - P2, work first, then the Lease. The Lease is renewed until OnStartedLeading
//     and OnStoppedLeading have returned, and released only then.
//   - P3, only one's own term. Each write carries the UID and resourceVersion of
//     the term's last one: a late request never touches another's term.
//   - P4, a foreign holder ends the term at once, and so does a deleted Lease.
//   - P5, terms do not blur. A new term begins after the last one's work has
//     returned, and has a greater fencing [Token].
//   - P6, a deleted Lease is no shortcut: who saw it held waits until the
//     holder's time has run out.
//   - P7, callbacks are serial, ordered and paired.
//   - P8, answers are honest: IsLeader is false from the end of trust on, whether
//     or not any timer has fired.
//   - P9, Run campaigns until its context is done, through errors of every kind.
//   - P10, bad configuration is refused by [New], all of it in one error.
//   - P11, without Enabled the Elector leads at once, without a Lease.
//
// # What is not promised
//
//   - A frozen process, or a paused VM, cannot stop itself. When it wakes
//     IsLeader is false at once, but a request that was under way goes on: only
//     fencing by the token helps there.
//   - Somebody who edits or deletes the Lease by hand can make two leaders, for
//     as long as the first takes to notice and to stop: a candidate that has
//     never seen the old holder need not wait for it.
//   - A bare client-go candidate on the same Lease keeps its own defects: it can
//     wipe our term, and it releases before its work has stopped.
//   - On a server without resourceVersions, such as client-go's fake clientset,
//     there is no compare-and-swap: nothing of P1 holds, and the token is a local
//     counter.
//
// # Timing
//
// Trust counts from the moment before a write was sent:
//
//	trustedUntil = sent + W        W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Others claim no sooner than LeaseDuration after they last saw the Lease change,
// which was after that write was sent. So the work has LeaseDuration - W to stop:
// by default W is 12 s, and the margin 3 s. Nothing narrows it: not a late reply,
// not a hung request, not a release in flight. See [Config.Window] and
// [Config.Margin].
//
//	sent        renewals fail       trustedUntil      others may claim
//	  |------------------------------------|------------------|
//	  0                                  W = 12 s           15 s
//	  |-- the work may go on --------------|-- it must stop --|
//
// A renewal is sent one RetryPeriod after the last one was. If it is not answered
// after min(RetryPeriod, (W - RetryPeriod)/4) the next one overlaps it: a request
// that hangs leaves four attempts, and a slow server still succeeds. A connection that
// is dead leaves them too, if the clientset was made with [Config.ClientConfig].
// Otherwise client-go sends all attempts over one HTTP/2 connection, which the
// application shares: when that one is dead, the term is lost, and for 45 s nothing is
// seen of the Lease.
//
// [Config.Timing] answers what follows: how long an outage of the API server is
// survived, how long nobody leads after a stop, a crash or a partition. It is
// logged once, by Run. [TolerateOutage] and [FailOverWithin] go the other way, from
// what one wants to the three durations. With the defaults an outage of 8 s is
// survived at whatever moment it begins, and after a crash nobody leads for at most
// 15.5 s. [Config.AddFlags] has the flags of Kubernetes' own components for them.
//
// # States
//
//	            the Lease may be claimed             the claim is proven
//	following -------------------------> claiming ----------------------> leading
//	    ^  ^                                |                              |    |
//	    |  |        refused: a fresh look   |       cancelled, StepDown    |    | trust has run out,
//	    |  +--------------------------------+                              |    | foreign holder, deleted
//	    |                                                                  v    v
//	    |                       work has returned, Lease released      stopping  lost
//	    +------------------------------------------------------------------+    |
//	    |                       work has returned, nothing is written           |
//	    +-----------------------------------------------------------------------+
//	                            work has not: Run returns ErrWorkStillRunning
//
// # What fails, and what follows
//
//   - The API server does not answer: the leader goes on until trust runs out,
//     then its work is cancelled ([ErrRenewalFailed]). It campaigns on.
//   - A reply is lost or late: the write is proven by reading it back, or by the
//     watch, and counts from its own sending.
//   - The watch is refused, stalls or ends: the Lease is polled as client-go does.
//   - The Lease is given away: [ErrOvertaken]. Deleted: [ErrLeaseDeleted]. The
//     database was restored from a backup: [ErrHistoryRewound].
//   - The work does not stop in time: [ErrWorkStillRunning], and nothing is
//     released. Exit the process.
//   - Two processes have one identity: [ErrIdentityInUse] for the one that does
//     not hold the Lease.
//
// # The heir
//
// So that a release wakes one follower and not all of them, one is entered as
// heir in an annotation of the Lease: the one with the highest priority, then the
// one whose process is newest, which in a rolling update is one that stays; of
// those that are about as old as each other, the first that comes. It claims at
// once, the others after 200 to 500 ms. Without rights to write the Lease, or with
// foreign leaders on it, nobody is heir, and everything else works.
//
// # How it is built
//
// client-go's LeaderElector writes, renews and releases, through a lock that is
// ours and that decides what may be sent. What is decided is decided by pure
// functions of what was seen, what is held and the time. Who wants to read the code
// reads best in this order:
//
//	config.go, trust.go, clock.go    the window W, and how long trust lasts
//	view.go, held.go                 when the Lease may be claimed, and what takes it from us: pure functions
//	sight.go, follow.go, watch.go    the observer: whatever is seen comes in at one place
//	run.go                           the loop: wait until the Lease may be claimed, claim it, lead, again
//	lock.go, campaign.go, release.go, request.go
//	                                 what is sent, and what its answers mean
//	client.go                        the connections it is sent over
//	tenure.go, work.go, lead.go      a term: its hold on the Lease, its callbacks, and the one order in which it ends
//	heir.go                          who claims first
//
// The words in it:
//
//	term      what users see: its token, and the callbacks from their start to their end
//	work      the callbacks of one term, with their context
//	tenure    our hold on the Lease, from the claim that won it to its release or loss: the work begins and ends within it
//	held      what a tenure rests on: the Lease as our last proven write left it
//	trust     until when that write keeps others from claiming
//	sighting  something that was seen of the Lease, by a watch, a read or the reply to a write
//	view      what is known of the Lease from all sightings
//	engine    client-go's LeaderElector, with the lock between it and the API server
//
// # On call
//
// [WithTrace] tells what an Elector does. Made of it, in packages of their own, are
// metrics for Prometheus (metrics), checks for probes (health) and a page for people
// (status). [WithEventRecorder] records events on the Lease, and with [WithPod] on
// the pod. [Elector.Stuck] says when only a new process helps. [WithCallbackMiddleware] puts
// something around the callbacks: package routing labels the leader's pod with it.
// [WithBackgroundTask] runs something beside the campaign: so AtStart of package rights
// warns in the log of rights that are missing.
//
// # Rights
//
// In the namespace of the Lease: create, which cannot be limited to a name; get,
// update and watch on the one Lease. Without watch it is polled. Package rights makes
// the Role.
package leaderelection
