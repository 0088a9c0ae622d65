// Package promcheck has no code, only tests: the expressions of hack/manifests are
// read by Prometheus' own parser. It is a module of its own, for that is large.
package promcheck
