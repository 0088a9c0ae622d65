// Package manifests contains only tests. They apply each manifest of this folder to a
// real API server. They also keep testdata/exported.txt equal to what package
// leaderelection/metrics exports; hack/promcheck compares alerts and panels with that
// file.
package manifests
