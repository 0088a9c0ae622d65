// Package leaderelectiontest is an in-memory Lease API with faults, for tests
// of leader election that need no API server and no real time.
//
// A [Server] speaks the Lease part of the Kubernetes API over an
// [http.RoundTripper]: real clientsets, reflectors, informers and client-go's
// own LeaderElector run on it whole. It answers as a kube-apiserver does
// (resourceVersions, UIDs, conflicts, validation, watches with bookmarks and
// streamed lists); the conformance package holds it to that.
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
// Each [Client] has a [Network] of its own that can be harmed: cut, slowed
// down, made to lose replies after the server has applied the write, and so
// on, for all requests or for those that a predicate names. The Server can be
// restarted, taken down, compacted and restored from a backup, and everything
// that was written is in its [Server.History].
//
// # Fake time
//
// The Server is made for bubbles of [testing/synctest]: create it inside the
// bubble. It has no goroutines of its own, so none are left; every wait is one
// that synctest counts as durably blocked; and no lock is held across a wait.
// It works in real time as well.
//
// # Limits
//
// Only Leases of coordination.k8s.io/v1 are served; every other path is 404.
// Server-side apply, deletecollection, dry runs, generateName, managedFields,
// paging and lists at an exact old resourceVersion are not.
package leaderelectiontest
