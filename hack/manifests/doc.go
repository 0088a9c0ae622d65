// Package manifests has no code, only tests: each manifest of this folder is applied
// to a real API server, and testdata/exported.txt is kept to what package
// leaderelection/metrics exports; hack/promcheck compares alerts and panels with it.
package manifests
