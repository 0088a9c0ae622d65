// Package manifests contains the YAML manifests of this folder. Its tests apply each
// manifest to a real API server. They also compare testdata/exported.txt with the metrics
// that package leaderelection/metrics exports. hack/promcheck compares the alerts and the
// dashboard with the same file.
package manifests
