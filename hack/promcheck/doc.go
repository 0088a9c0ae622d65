// Package promcheck contains only tests. Prometheus' own library evaluates the alerts of
// hack/manifests in scenarios in which they must fire and in scenarios in which they must
// not. The metrics, labels and label values that alerts and dashboard use are compared
// with what Electors export. The package is a module of its own, because that library
// has many dependencies.
package promcheck
