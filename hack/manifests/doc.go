// Package manifests contains the YAML manifests of this folder. Its tests apply each
// manifest to a real API server. The file testdata/exported.txt lists the metrics that
// package leaderelection/metrics exports, and the tests check this list. The tests in
// hack/promcheck compare the alerts and the dashboard with the same list.
package manifests
