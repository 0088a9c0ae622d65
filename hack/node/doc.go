// Command node runs a real Kubernetes node on this machine, without a registry and
// without an installation. It starts etcd, kube-apiserver, kube-controller-manager,
// kube-scheduler, containerd and kubelet in namespaces and in a cgroup of their own.
// When the command ends, also by SIGKILL, the kernel ends everything that it started.
//
//	node            start a node and keep it until SIGINT or SIGTERM
//	node test       start a node, run the scenarios on it, and print a table
//
// The folder hack/docs contains a page, node.md, that describes what the command needs
// and what it measures.
//
// The binary is also the program of the image that the Pods run: as "node operator" it is
// the operator whose leader the scenarios kill, and as "node pause" it holds the namespaces
// of a Pod. Therefore it must be built with CGO_ENABLED=0.
package main
