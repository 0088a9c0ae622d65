// Package routing labels the Pod of the leader, so that a Service can select it.
//
//	router, err := routing.New(routing.Label{Key: "example.com/my-app-leader", Value: "true"}, clientset, logger)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, router.Option())
//
// Which Pod is this process's, the environment says: POD_NAMESPACE and POD_NAME, from
// the downward API, and POD_UID if it is there. Programs with a Manager of package
// manager use manager.WithLeaderLabel. Both come with the manifest of the Service, in
// hack/manifests.
//
// # What it does
//
// The label is set when a term begins, beside OnStartedLeading, which waits for
// nothing. It is taken away when the context of the work ends, beside its stop and
// before the Lease is released: until that is done, OnStoppedLeading is not over for
// the Elector, though yours is called without delay. A program that still leads while
// it finishes what it has begun has the label taken away earlier, by
// [Router.Withdraw].
//
// What dead leaders left is taken away by the next one. While it leads, it looks
// every 10 to 30 s whether its own Pod has the label and no other one has, and puts
// that right. An annotation, the key with "-term" behind it, says which term has set
// the label, or in which it is over: it is set with the label, in one request. A label
// without it, such as one from the template of a Pod, was set by no leader: it stays,
// and the log says so. Before each write but the one that takes the label
// from its own Pod it asks its Elector whether it leads.
//
// # What it does not promise
//
// A Service sends requests to whom it last knew to be the leader: the label is a
// signpost, and no proof. It is wrong for a while:
//   - after a crash, until the next leader has been elected; os.Exit in
//     OnStoppedLeading is a crash, for the Lease is not released then either;
//   - after a loss, if it could not be taken away within a quarter of
//     leaderelection.Config.Margin, two seconds at the most, for nothing may delay the
//     end: until then, too;
//   - after a stop during which the API server refused for Label.Patience to take it
//     away: the Lease is released all the same, and the next leader takes it away at
//     once;
//   - if a request that was given up is carried out late. One that sets the label
//     names the version of the Pod that it was decided on, so it fails once the label
//     was taken away in an orderly stop. After a crash or a loss nothing may have
//     changed that version: then two Pods have the label until the next leader looks
//     again, 30 s at the most;
//   - if somebody takes away the annotation of a dead leader's Pod: the label there is
//     taken for a template's, and stays until somebody takes that away as well.
//
// Who must know whether they speak to the leader has it answer with its term, or puts
// a Fence around what it writes, see package fencing.
//
// # Rights
//
// It needs the rights to list and to patch Pods in the namespace of the Pod (Route in
// package rights); without them the election works all the same. Mind what the right
// to patch Pods allows: a Role cannot narrow it to one's own Pod, nor to labels.
// Whoever has it may exchange the image of each Pod in that namespace, and so run what
// they like with the service account, the secrets and the volumes of any of them; and
// may send any Service's requests to themselves. Give it in namespaces only where
// nothing is that this process may not have, or limit it by an admission policy.
package routing
