// Package integration tests the Elector and the Fence on a real control plane.
// It has no code of its own, only tests.
//
// The tests need kube-apiserver and etcd; see envtest.AssetsDir. They run in
// parallel on one control plane. Tests that stop, kill or restore a server run
// one after the other on a second control plane with two API servers.
package integration
