// Package manager adds the leader election of package leaderelection to
// controller-runtime.
//
// # Replacing the election of an operator
//
//	mgr, err := manager.New(ctrl.GetConfigOrDie(), ctrl.Options{
//		LeaderElection:   true,
//		LeaderElectionID: "my-operator",
//	})
//
// [New] has the signature and the options of ctrl.NewManager. The returned Manager
// wraps a Manager of controller-runtime, the inner Manager. Therefore Runnables,
// caches, webhooks, warm-up, the metrics server and the builder work unchanged. The
// election differs:
//
//   - The process claims the Lease only after the caches have synced. The Runnables
//     that need leader election start as soon as the process leads.
//   - The process renews the Lease until all Runnables have stopped. The process then
//     releases the Lease. The process does not release the Lease if
//     GracefulShutdownTimeout is 0, or if Runnables still run after this timeout.
//   - When leadership is lost, the contexts of all Runnables are cancelled at once, and
//     Start returns [ErrLeadershipLost]. If the Lease could not be renewed, Start
//     returns before another candidate may claim the Lease. Exit the process when Start
//     has returned, as with controller-runtime. The Manager also detects a loss of
//     leadership during a graceful stop.
//   - The election has its own client. This client has no rate limit, and shares no
//     connections with the application's clients.
//
// # An Elector in any Manager
//
// [NewElector] adds an Elector to a Manager. Use NewElector if only some Runnables need
// a leader, or if the process needs several Leases. [LeaderOnly] returns a Runnable
// that runs in each term of the Elector. In the next term, the Runnable is started
// again without a restart of the process. An Elector created by leaderelection.New can
// also be added with mgr.Add.
//
// When a Manager stops, it first stops the Runnables that do not need leader election.
// An Elector is such a Runnable. The Manager then stops the Runnables that need leader
// election. This order is safe for the Runnables that the Elector runs, because the
// Elector releases the Lease only after they have returned. The Lease may be released
// while other Runnables still run.
//
// # Observability
//
// The metrics of the Electors that New and NewElector create are registered with
// controller-runtime, see package metrics. [Metrics] returns these metrics. The
// Manager's metrics server has a status page at [StatusPath]. The checks for probes are
// the functions [Live] and [Ready], or the methods of an [Elector]. Add the checks to
// the Manager under any name. Ready succeeds on the leader and on followers that can
// take part in the election.
//
// The Elector records events on the Lease when the process becomes leader, stops
// leading, steps down, or loses leadership. It also records an event when work does not
// stop in time. If POD_NAMESPACE, POD_NAME and POD_UID are set, the Elector records the
// same events on the Pod. If the right to create events is missing, the missing right
// is logged once.
//
// With these three variables the Elector also uses proof of death, see
// leaderelection.WithProofOfDeath: after a crash, the next leader need not wait until the
// Lease expires. If the Pod has several containers, set POD_CONTAINER to the name of this
// process's container. The option leaderelection.WithoutProofOfDeath turns it off.
//
// # Guarding and fencing writes
//
// [GuardClient] and [GuardTransport] refuse writes that do not belong to the current
// term. Such a write comes from a goroutine that survived an earlier term, or from a
// process that can no longer be certain that it leads.
//
// Only the API server can refuse a write that was already sent. Package
// leaderelection/fencing provides an admission policy for this purpose, the Fence. A
// Fence with mode ByPod needs no change in the program if POD_NAME is set and the
// program uses the default identity. Use [WithFencing] for a Fence with mode ByTerm.
// Also use WithFencing if the client must retry refused writes while the term
// continues.
//
// # Routing to the leader, and rights
//
// [WithLeaderLabel] labels the leader's Pod, so that a Service can select the leader.
// By default no Pod is labelled. With [NewElector], use the Option of package
// leaderelection/routing instead. When the Manager starts to campaign, it logs a
// warning for each missing right, unless [WithoutRightsCheck] is given. The command
// "kubectl lease rights" prints a Role with the required rights.
package manager
