// Package routing labels the leader's Pod, so that a Service can select it.
//
//	router, err := routing.New(routing.Label{Key: "example.com/my-app-leader", Value: "true"}, clientset, logger)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, router.Option())
//
// The environment names this process's Pod: POD_NAMESPACE and POD_NAME from the downward
// API, and POD_UID if it is set. Programs with a Manager of package manager use
// manager.WithLeaderLabel. The folder hack/manifests has the Service for both.
//
// # What it does
//
// The Router sets the label when a term starts. It does so beside OnStartedLeading, which
// does not wait. The Router removes the label when the context of the term is done, while
// the callbacks stop, and before the Lease is released. The Elector waits for the
// removal as it waits for OnStoppedLeading; your OnStoppedLeading is called without
// delay. A process that still leads while it drains calls [Router.Withdraw] to remove the
// label earlier.
//
// The next leader removes labels that crashed leaders left behind. Every 10 to 30 s, a
// leader checks that its own Pod has the label and that no other Pod has it, and repairs
// what is wrong. The annotation "<key>-term" records the term that set or removed the
// label. It is written in the same request as the label. A label without the annotation,
// for example from a Pod template, was not set by a leader: the Router keeps it and logs
// that. Before each write, the Router asks its Elector whether it leads. The only
// exception is the removal of the label from its own Pod.
//
// # What it does not promise
//
// A Service sends requests to the Pod that was last known to lead. The label is a hint
// and proves nothing. It is wrong in these cases:
//   - After a crash, until there is a next leader. os.Exit in OnStoppedLeading is a
//     crash, because the Lease is not released either.
//   - After a lost term, until there is a next leader, if the label could not be removed
//     within a quarter of leaderelection.Config.Margin, at most two seconds. Nothing may
//     delay the end of a lost term longer.
//   - After a stop, if the API server refused the removal during Label.RemoveTimeout. The
//     Lease is released all the same, and the next leader removes the label at once.
//   - If a request that timed out is carried out late. A request that sets the label
//     contains the resource version of the Pod that it is based on. It therefore fails
//     after the label was removed in an orderly stop. After a crash or a lost term the
//     version may be unchanged: then two Pods have the label until the leader's next
//     check, at most 30 s later.
//   - If somebody removes the annotation from the Pod of a crashed leader. The label then
//     looks like one from a template, and stays until somebody removes it as well.
//
// If a client must know that it speaks to the leader, let the leader send its term with
// each answer, or guard its writes with a Fence, see package fencing.
//
// # Rights
//
// A Router needs the rights to list and patch Pods in the namespace of its Pod (Route in
// package rights). Without them the election works and the label is missing.
//
// The right to patch Pods is powerful. A Role cannot limit it to one Pod or to labels. A
// process that has it can replace the image of every Pod in the namespace. It can thus
// run any program with the service account, secrets and volumes of these Pods, and can
// direct the requests of every Service to itself. Grant it only in namespaces that hold
// nothing else of value, or restrict it by an admission policy.
package routing
