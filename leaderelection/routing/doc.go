// Package routing labels the leader's Pod, so that a Service can select this Pod.
//
//	router, err := routing.New(routing.Label{Key: "example.com/my-app-leader", Value: "true"}, clientset, logger)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, router.Option())
//
// The environment variables POD_NAMESPACE and POD_NAME, from the downward API, identify
// the Pod of this process. If possible, also set POD_UID. Programs that use package
// manager call manager.WithLeaderLabel instead of New. The folder hack/manifests contains
// a Service for both kinds of programs.
//
// # What it does
//
// When a term starts, the Router sets the label. OnStartedLeading does not wait for the
// label. When the context of the term is done, the Router removes the label while the
// callbacks stop. The Elector releases the Lease only after the callbacks have returned
// and the label is removed. Your OnStoppedLeading is called at once, and does not wait
// for the removal. To remove the label earlier, call [Router.Withdraw], for example while
// a process still leads but drains its connections.
//
// The next leader removes labels that crashed leaders left behind. Every 10 to 30 s, the
// leader checks that its own Pod has the label and that no other Pod has the label. The
// leader repairs wrong labels.
//
// The annotation "<key>-term" records the term that set or removed the label. One request
// writes both the annotation and the label. If a Pod has the label without the
// annotation, no leader has set the label. For example, the label comes from a Pod
// template. The Router keeps such a label and logs a message. Before each write, the
// Router checks that its Elector leads. There is one exception: the Router may remove the
// label from its own Pod after its Elector has stopped leading.
//
// # What it does not promise
//
// The label is only a hint. A Service can send requests to a Pod that no longer leads.
// The label is wrong in these cases:
//
//   - After a crash, until another process leads. os.Exit in OnStoppedLeading has the
//     effect of a crash, because the Lease is not released.
//   - After a lost term, until another process leads, if the Router could not remove the
//     label in time. The Router tries for a quarter of leaderelection.Config.Margin, but
//     at most for two seconds. A longer wait would delay the end of the lost term.
//   - After a stop, if the API server refused the removal during Label.RemoveTimeout. The
//     Lease is released nevertheless, and the next leader removes the label at once.
//   - If the API server carries out a request after the request has timed out. A request
//     that sets the label contains the resourceVersion of the Pod. Therefore this request
//     fails if the label was removed in an orderly stop. After a crash or a lost term,
//     the resourceVersion may be unchanged. Then two Pods have the label until the
//     leader's next check, at most 30 s later.
//   - If somebody removes the annotation from the Pod of a crashed leader. The label then
//     looks like a label from a template. The label stays until somebody removes it by
//     hand.
//
// If a client must be sure that it talks to the leader, let the leader send its term with
// each answer. Or guard the leader's writes with a Fence (see package fencing).
//
// # Rights
//
// A Router needs the rights to list and patch Pods in the namespace of its Pod (Route in
// package rights). Without these rights, the election works but the label is missing.
//
// The right to patch Pods is powerful. A Role cannot limit this right to one Pod or to
// labels. A process with this right can replace the image of every Pod in the namespace.
// The process can then run any program with the service account, secrets and volumes of
// these Pods. The process can also direct the requests of every Service to itself. Grant
// this right only in namespaces that contain nothing else of value, or restrict it with
// an admission policy.
package routing
