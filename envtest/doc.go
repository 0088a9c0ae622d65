// Package envtest starts a real Kubernetes control plane for tests. The tests
// can inject network faults, and can check that the work of two leaders never
// overlaps.
//
// # The control plane
//
// [Start] starts etcd and one or more kube-apiservers with RBAC. Each [Server]
// can be stopped, killed and started again. A server keeps its address and its
// data. etcd can also be backed up and restored:
//
//	cp, err := envtest.Start(envtest.Options{APIServers: 2})
//	...
//	defer cp.Stop()
//	err = cp.APIServer(0).Kill()
//	err = cp.APIServer(0).Start()
//
// Start the control plane once in TestMain, and give each test its own
// namespace with [ControlPlane.Namespace]. Tests can then run in parallel on
// one control plane. There is no controller-manager, scheduler or kubelet.
// Therefore no component deletes the objects of a namespace, creates service
// accounts or runs pods.
//
// On Linux, the processes of the control plane end with the program that
// started them, even if the program is killed. On other systems, the processes
// continue to run if the program is killed.
//
// # The binaries
//
// Start needs the binaries kube-apiserver and etcd. [AssetsDir] documents where
// Start looks for the binaries. If a binary is missing, the error that Start
// returns describes a remedy.
//
// # Clients and their networks
//
// [ControlPlane.Client] returns a client with its own network. A fault in this
// network affects no other client. Package leaderelectiontest documents the
// faults:
//
//	client := cp.Client("pod-1")
//	client.Network().Cut(leaderelectiontest.Hang)
//
// The faults of a network hold, drop or refuse whole HTTP messages.
// [Client.LoseConnections] is a fault of TCP connections: open connections
// become dead, but new connections work.
//
// # Rights
//
// [AsUser] gives a client the identity of a user. [AsPod] gives a client the
// identity of a pod that uses a [ServiceAccount]. [ControlPlane.Fence] makes
// the API servers enforce a Fence of package fencing. [EnforceFence] and
// [InstallFence] make the API servers of any control plane enforce a Fence.
//
// # The referee
//
// A [Referee] records the times at which each worker starts and stops. A
// Referee created by [NewReferee] fails the test if the work of two workers
// overlapped. The failure message contains a timeline of all records.
package envtest
