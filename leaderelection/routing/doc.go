// Package routing labels the leader's Pod, so that a Service can select it.
//
//	router, err := routing.New(routing.Label{Key: "example.com/my-app-leader", Value: "true"}, clientset, logger)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, router.Option())
//
// The environment variables POD_NAMESPACE and POD_NAME, from the downward API, identify
// the Pod of this process. Set POD_UID, too, if you can. Programs that use package
// manager call manager.WithLeaderLabel instead of New. The folder hack/manifests contains
// a Service for both kinds of programs.
//
// # What it does
//
// The Router sets the label when a term starts. OnStartedLeading does not wait for the
// label. When the context of the term is done, the Router removes the label. It does this
// while the callbacks stop, and before the Lease is released. The Elector waits for the
// removal, as it waits for OnStoppedLeading. Your OnStoppedLeading does not wait for the
// removal. To remove the label earlier, for example while a process that still leads
// drains, call [Router.Withdraw].
//
// The next leader removes labels that crashed leaders left behind. Every 10 to 30 s, the
// leader checks that its own Pod has the label and that no other Pod has the label. It
// repairs wrong labels.
//
// The annotation "<key>-term" records the term that set or removed the label. One request
// writes both the annotation and the label. A label without the annotation was not set by
// a leader, but, for example, by a Pod template. The Router keeps such a label and logs
// this. Before each write, the Router checks that its Elector leads. The only exception
// is the removal of the label from its own Pod.
//
// # What it does not promise
//
// The label is only a hint. A Service can send requests to a Pod that does not lead
// anymore. The label is wrong in these cases:
//
//   - After a crash, until there is a next leader. os.Exit in OnStoppedLeading has the
//     effect of a crash, because the Lease is not released.
//   - After a lost term, until there is a next leader, if the Router could not remove the
//     label in time. It tries for a quarter of leaderelection.Config.Margin, but at most
//     for two seconds, because a longer wait would delay the end of the lost term.
//   - After a stop, if the API server refused the removal during Label.RemoveTimeout. The
//     Lease is released nevertheless, and the next leader removes the label at once.
//   - If the API server carries out a request after the request has timed out. A request
//     that sets the label contains the resourceVersion of the Pod. Therefore this request
//     fails if the label was removed in an orderly stop. After a crash or a lost term,
//     the resourceVersion may be unchanged. Then two Pods have the label until the
//     leader's next check, at most 30 s later.
//   - If somebody removes the annotation from the Pod of a crashed leader. The label then
//     looks like a label from a template. It stays until somebody removes it by hand.
//
// If a client must be sure that it talks to the leader, let the leader send its term with
// each answer. Or guard the leader's writes with a Fence, see package fencing.
//
// # Rights
//
// A Router needs the rights to list and patch Pods in the namespace of its Pod (Route in
// package rights). Without these rights, the election works but the label is missing.
//
// The right to patch Pods is powerful. A Role cannot limit this right to one Pod or to
// labels. A process with this right can replace the image of every Pod in the namespace.
// It can thereby run any program with the service account, secrets and volumes of these
// Pods. It can also direct the requests of every Service to itself. Grant this right only
// in namespaces that contain nothing else of value, or restrict it with an admission
// policy.
package routing
