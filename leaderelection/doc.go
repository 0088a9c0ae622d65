// Package leaderelection elects one leader among the replicas of a Kubernetes
// program, on a Lease.
package leaderelection
