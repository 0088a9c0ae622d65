// Package leaderelectiontest provides an in-memory Lease API and a network with
// faults, for tests of leader election.
//
// # The in-memory server
//
// A [Server] serves the Lease part of the Kubernetes API through an
// [http.RoundTripper], so real clientsets, reflectors, informers and client-go's
// LeaderElector work with it unchanged. It implements resourceVersions, UIDs,
// conflicts, validation, and watches with bookmarks and streamed lists. The
// tests in package conformance check that it answers like a kube-apiserver.
//
//	synctest.Test(t, func(t *testing.T) {
//		server := leaderelectiontest.NewServer()
//		defer server.Close()
//		client := server.Client("pod-1")
//		elector, err := leaderelection.New(config, client.Clientset(), callbacks, nil)
//		...
//		client.Network().Cut(leaderelectiontest.Hang)
//	})
//
// A test can restart the server, take it down, compact it and restore it from a
// backup. [Server.History] contains every write.
//
// # The network
//
// Each [Client] has a [Network]. A test injects faults into it: it can cut the
// network, delay requests or replies, lose the reply to a write that the server
// has applied, and more. A fault hits all requests, or those that the options
// select. [Fault.Await] waits until a fault has hit a request, so that a test
// need not sleep:
//
//	reply := client.Network().DelayReplies(leaderelectiontest.Forever,
//		leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
//	go elector.Run(ctx)
//	reply.Await(t) // the server has applied the claim, but the client does not know it
//	reply.Heal()
//
// A Network also works in front of a real API server: see [Network.Wrap].
//
// # Fake time
//
// Server and Network work in a [testing/synctest] bubble if they are created
// inside it. All their waits are durably blocking, and they hold no mutex
// during a wait. Only [Network.ArriveLate] starts goroutines, which end when
// the Server or the Network is closed. Both also work in real time.
//
// # Limits
//
// The Server serves only Leases of coordination.k8s.io/v1. It answers 404 for
// other paths. It does not support server-side apply, deletecollection, dry
// runs, generateName, managedFields, paging, or lists at an exact old
// resourceVersion.
package leaderelectiontest
