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
// [New] has the signature and the options of ctrl.NewManager. The inner Manager is
// controller-runtime's own, so its groups, caches, webhooks, warm-up, metrics server,
// builder and Runnables work unchanged. The election differs:
//
//   - The Lease is claimed once the caches have synced. The Runnables that need leader
//     election start as soon as this process leads.
//   - The Lease is renewed until all Runnables have stopped, and is released only then.
//     It is not released if GracefulShutdownTimeout is 0, or expires while Runnables
//     still run.
//   - When leadership is lost, the contexts of all Runnables are cancelled at once.
//     Start returns [ErrLeadershipLost] before another candidate may claim the Lease.
//     Exit the process then, as with controller-runtime. A loss during a graceful stop is
//     detected too.
//   - The election has a client of its own, without a rate limit and without shared
//     connections.
//
// # An Elector in any Manager
//
// [NewElector] adds an Elector to a Manager. Use it to elect a leader for a part of the
// work, or for several parts with a Lease each. [LeaderOnly] returns a Runnable that
// runs in each term of such an Elector. It is started again in the next term without a
// restart of the process. An Elector of leaderelection.New can also be added with
// mgr.Add.
//
// A Manager stops Runnables without leader election, such as an Elector, before
// Runnables with leader election. This is safe for work that belongs to the Elector,
// because the Lease is released after that work. Do not rely on the Elector for
// Runnables that it does not run.
//
// # Observability
//
// The metrics of the Electors of New and NewElector are registered with
// controller-runtime, see package metrics. The Manager's metrics server has a status
// page at [StatusPath]. The checks for probes are [Live] and [Ready], or the methods of an
// [Elector]. Add them to the Manager under any name. Ready means that this process can
// take part in the election. It does not depend on leadership.
//
// Events are recorded on the Lease: became leader, stopped leading, stepped down, lost
// leadership with the reason, and work that did not stop in time. They are also recorded
// on the pod if POD_NAMESPACE, POD_NAME and POD_UID are set. A missing right to create
// events is logged once.
//
// # Guarding and fencing writes
//
// [GuardClient] and [GuardTransport] refuse writes that do not belong to the current
// term: those of a goroutine that survived an earlier term, and those of a process that
// does not lead with certainty any more.
//
// Only the API server can refuse a write that was already sent, see package
// leaderelection/fencing. A Fence ByPod needs no change here, if the identity is the
// default and POD_NAME is set. [WithFencing] is for Fences ByTerm, and for programs that
// handle refusals.
//
// # Routing to the leader, and rights
//
// [WithLeaderLabel] labels the leader's Pod, so that a Service selects it. By default
// there is no label. For [NewElector] use the Option of package leaderelection/routing.
// When the Manager begins to campaign, it logs a warning for each missing right, unless
// [WithoutRightsCheck] is given. The command hack/rights prints the necessary Role.
package manager
