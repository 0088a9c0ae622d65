// Package promcheck contains only tests. Prometheus' own library evaluates the alerts of
// hack/manifests in scenarios in which they must fire, and in scenarios in which they
// must not fire. Other tests compare the metrics, labels and label values in the alerts
// and the dashboard with those that Electors export. The package is a module of its own,
// because Prometheus' library has many dependencies.
package promcheck
