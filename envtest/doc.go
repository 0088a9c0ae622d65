// Package envtest is a workshop for testing code that depends on leadership
// against the real thing: it starts a kube-apiserver and an etcd, gives out
// clients whose network can be harmed one by one, and has a referee who fails a
// test in which two leaders worked at once.
//
// # The control plane
//
// [Start] starts etcd and one kube-apiserver, or more of them over the same
// etcd, with RBAC on. Each can be stopped, killed and started again at its old
// address and with its data kept; etcd can also be backed up, and restored, so
// that resourceVersions run backwards:
//
//	cp, err := envtest.Start(envtest.Options{APIServers: 2})
//	...
//	defer cp.Stop()
//	err = cp.APIServer(0).Kill()
//	err = cp.APIServer(0).Start()
//
// Start it once in TestMain and give each test a namespace of its own with
// [ControlPlane.Namespace]: tests then run in parallel on one control plane.
// There is no controller-manager, scheduler or kubelet: what these do (deleting
// the content of a namespace, making service accounts, running pods) does not
// happen.
//
// On Linux the processes die with the program that started them, however it
// dies. Elsewhere they outlive a program that is killed.
//
// # The binaries
//
// [AssetsDir] says where the two binaries are looked for. Where there are none,
// Start's error names the remedy.
//
// # Clients and their network
//
// [ControlPlane.Client] makes a client with a [Network] of its own. A fault
// harms that client and no other; it is filtered with [When], limited with
// [Times], and says when it struck, so that a test need not sleep:
//
//	client := cp.Client("pod-1")
//	reply := client.Network().DelayReplies(leaderelectiontest.Forever, leaderelectiontest.When(leaderelectiontest.Writes), leaderelectiontest.Once())
//	go elector.Run(ctx)
//	reply.Await(t)              // the server has applied the claim, the client does not know
//	client.Network().Cut(leaderelectiontest.Hang)
//
// A Network also fits around any other rest.Config, that of controller-runtime's
// envtest among them: [Network.Wrap].
//
// What a Network harms is HTTP, not TCP: a request or a reply is held, dropped or
// refused as a whole, and what a watch delivers is held where it is read.
// Whatever was held goes on its way when the fault is healed, as it does in a
// real network: a write may arrive long after it was sent. One fault is of TCP:
// [Client.LoseConnections] makes connections dead, and new ones work.
//
// # The referee
//
// A [Referee] is told who worked when, and fails the test if two did at once,
// with a timeline of what happened.
package envtest
