// Package manager brings leaderelection to controller-runtime.
//
// # One line turns an operator's election into this one
//
//	mgr, err := manager.New(ctrl.GetConfigOrDie(), ctrl.Options{
//		LeaderElection:   true,
//		LeaderElectionID: "my-operator",
//	})
//
// [New] has the signature and the options of ctrl.NewManager. The Manager inside
// stays controller-runtime's own: its groups, caches, webhooks, warm-up, metrics
// server, builder and Runnables work unchanged. Different is when the Lease is
// claimed, renewed and given back:
//
//   - It is claimed once the caches have synced, and the Runnables that need
//     leader election start as soon as it is won.
//   - It goes on being renewed until all Runnables have stopped, and only then is
//     it released. If GracefulShutdownTimeout runs out with work still running, or
//     is 0, it is not released at all.
//   - When leadership is lost, the contexts of all Runnables are cancelled at
//     once, and Start returns [ErrLeadershipLost] before anybody else may claim
//     the Lease: exit then, as with controller-runtime. A loss during a graceful
//     stop is noticed too.
//   - It is spoken for over a client of its own, without a rate limit and with
//     connections that nothing else uses.
//
// # An Elector in any Manager
//
// [NewElector] adds an Elector to a Manager, for programs that elect a leader for
// a part of their work, or for several parts on several Leases. [LeaderOnly] makes
// a Runnable that runs in each term of such an Elector, and is started again in
// the next one without a restart of the process. An Elector that was made with
// leaderelection.New can be added with mgr.Add as well.
//
// A Manager stops the Runnables that do not need leader election, and so an
// Elector, before those that do. That is harmless for work that belongs to the
// Elector, for the Lease waits for it; but do not let such an Elector stand for
// Runnables that it does not run.
//
// # On call
//
// Electors of New and of NewElector are in controller-runtime's registry without
// further ado, see package metrics. The Manager's metrics server has a page about
// them at [StatusPath]. The checks for probes are [Live] and [Ready], or the methods
// of an [Elector]: add them under a name of your own. Ready means that this process
// can take part, and never that it leads.
//
// Events are recorded on the Lease: became leader, stopped leading, stepped down,
// lost leadership and why, overran; and on the pod, if POD_NAMESPACE, POD_NAME and
// POD_UID say which it is. That the right to create events is missing is logged
// once.
//
// # Fencing off one's own past
//
// [GuardClient] and [GuardTransport] refuse writes that no live term stands
// behind: those of a goroutine that was left over from an earlier term, and those
// of a process that is not certain any more that it leads.
//
// What is on its way already only the API server can refuse: package
// leaderelection/fencing has it do so. By pod nothing need be done here, if the
// identity is the default one and POD_NAME says which pod it is; [WithFencing] is for
// Fences by term, and for programs that want to know what a refusal means.
//
// # Routing to the leader, and rights
//
// [WithLeaderLabel] labels the leader's Pod, so that a Service selects it; by default
// none is. For [NewElector] the Option of package leaderelection/routing does so. When
// it begins to campaign the Manager warns of rights that are missing, unless
// [WithoutRightsCheck] is given; command hack/rights prints the Role for what is used.
package manager
