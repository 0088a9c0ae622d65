// Package envtest starts a real Kubernetes control plane for tests of code that
// depends on leadership. Its clients have networks with faults, and a Referee
// detects work that overlaps.
//
// # The control plane
//
// [Start] starts etcd and one or more kube-apiservers with RBAC. Each [Server]
// can be stopped, killed and started again. It keeps its address and its data.
// etcd can also be backed up and restored:
//
//	cp, err := envtest.Start(envtest.Options{APIServers: 2})
//	...
//	defer cp.Stop()
//	err = cp.APIServer(0).Kill()
//	err = cp.APIServer(0).Start()
//
// Start the control plane once in TestMain, and give each test a namespace of
// its own with [ControlPlane.Namespace]. Tests can then run in parallel on one
// control plane. There is no controller-manager, scheduler or kubelet, so
// nothing deletes the objects of a namespace, creates service accounts or runs
// pods.
//
// On Linux the processes end with the program that started them, even if it is
// killed. On other systems they outlive a program that is killed.
//
// # The binaries
//
// [AssetsDir] documents where Start looks for the two binaries. If they are
// missing, the error of Start names the remedy.
//
// # Clients and their networks
//
// [ControlPlane.Client] returns a client with a network of its own. A fault in
// it affects no other client. Package leaderelectiontest documents the faults:
//
//	client := cp.Client("pod-1")
//	client.Network().Cut(leaderelectiontest.Hang)
//
// Those faults hold, drop or refuse whole HTTP messages. [Client.LoseConnections]
// is a fault of TCP: it makes the open connections dead, while new ones work.
//
// # Rights
//
// [AsUser] and [AsPod] give a client the identity of a user or of a pod of a
// [ServiceAccount]. [ControlPlane.Fence] enforces a Fence of package fencing.
// [EnforceFence] and [InstallFence] do that on any control plane.
//
// # The referee
//
// A [Referee] records when each worker works. It fails the test if work
// overlapped, and prints a timeline of what happened.
package envtest
