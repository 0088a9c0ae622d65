// Package promcheck has no code, only tests: the alerts of hack/manifests are evaluated
// by Prometheus' own library, in scenes in which they must fire and others in which
// they must not; and whatever alerts and dashboard ask for is compared with what
// Electors export, labels and their values included. It is a module of its own, for
// that library is large.
package promcheck
