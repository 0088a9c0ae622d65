// Package manifests has no code, only tests: each manifest of this folder is
// applied to a real API server, and what alerts and panels ask for is compared with
// what package leaderelection/metrics exports.
package manifests
