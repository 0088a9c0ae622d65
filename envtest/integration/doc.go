// Package integration tests the Elector and the Fence on a real control plane.
// The package contains only tests.
//
// The tests need the binaries kube-apiserver and etcd, see envtest.AssetsDir.
// Most tests run in parallel on one control plane. Tests that stop, kill or
// restore a server run one after the other on a second control plane with two
// API servers.
package integration
