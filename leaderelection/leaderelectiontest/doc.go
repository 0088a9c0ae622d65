// Package leaderelectiontest provides an in-memory Lease API and a simulated
// network, for tests of leader election. Tests can inject faults into the
// network.
//
// # The in-memory server
//
// A [Server] serves the Lease part of the Kubernetes API through an
// [http.RoundTripper]. Therefore real clientsets, reflectors, informers and
// client-go's LeaderElector can use a Server without changes. A Server
// implements resourceVersions, UIDs, conflicts, validation, and watches with
// bookmarks and streamed lists. The tests in package conformance check that a
// Server answers like a kube-apiserver.
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
// A test can restart the server, take it down, compact the history of events,
// and restore the server from a backup. [Server.History] returns every write.
//
// # The network
//
// Each [Client] has a [Network]. A test injects faults into the Network. For
// example, a test can cut the network, delay requests or replies, or lose the
// reply to a write that the server has applied. A fault hits all requests,
// unless options limit the fault to some requests. [Fault.Await] waits until a
// fault has hit a request. Therefore a test does not need to sleep:
//
//	reply := client.Network().DelayReplies(leaderelectiontest.Forever,
//		leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
//	go elector.Run(ctx)
//	reply.Await(t) // the server has applied the claim, but the client has no reply yet
//	reply.Heal()
//
// A Network also works in front of a real API server. See [Network.Wrap].
//
// # Several candidates
//
// A [Group] runs several candidates on one Server. The Group fails the test if
// two candidates work at the same time. A candidate can be any code that
// competes for a Lease.
//
// # Fake time
//
// A Server and a Network work in real time. They also work in a
// [testing/synctest] bubble if they are created inside the bubble. A method that
// waits is durably blocked and holds no mutex. Only [Network.ArriveLate] starts
// goroutines. These goroutines end when the Server or the Network is closed.
//
// # Limits
//
// The Server serves only Leases of coordination.k8s.io/v1. It answers 404 for
// other paths. It does not support server-side apply, deletecollection, dry
// runs, generateName, managedFields, paging, or lists at an exact earlier
// resourceVersion.
package leaderelectiontest
