// Package fencing has the API server refuse the writes of a leader that does not
// know yet that it is none any more.
//
// An election alone cannot stop a leader that was frozen, nor a request that was
// on its way when its sender lost the Lease. Whoever stores what the leader writes
// can: by asking, with each write, whether its writer still leads. For what is
// stored in Kubernetes an admission policy asks, and the API server enforces it: no
// component of ours runs in the cluster. For other stores there is the token of the
// term, see below.
//
// # What to do
//
// Say in a [Fence] which Lease is meant, under which service account the replicas
// run, and what only the leader writes. [Policy] makes the policy of it; somebody
// with the rights of an administrator applies it, once. The same as YAML:
//
//	go run github.com/haproxy-template-ic/incumbent/hack/fence@latest \
//		-lease my-namespace/my-app-leader -service-account my-app \
//		-resources configmaps,deployments.apps | kubectl apply -f -
//
// Nobody but that service account is fenced off, and of its writes only those of
// the resources that were named, with their subresources: never reads, never
// Leases, never Events.
//
// # By pod
//
// With [ByPod] a write is let through if the pod's name in the writer's token is
// what the Lease names as holder, or what it names begins with the pod's name and
// "_", as the identities of controller-runtime and of package manager do. The
// program need not be changed, but its identity must be made of its pod's name.
//
// All is covered: create, update, patch, server-side apply, delete,
// deletecollection, and subresources such as status and scale.
//
// # What by pod guarantees, and what not
//
// An API server refuses the writes of every pod but the holder, as far as it knows
// who that is. It learns of a new holder by a watch, within milliseconds.
//
//   - Of one object, and through one API server, no write of an earlier holder is
//     stored after the first one of a later holder: the policy looks again whenever
//     the object has changed meanwhile.
//   - Of several objects that is not certain. A write that passed the policy just
//     before the API server heard of the new holder is stored a moment later, when
//     the new holder may have written another object already.
//   - Several API servers hear of a new holder one after the other. One that has not
//     heard goes on accepting the old holder's writes while the new one's are
//     accepted elsewhere; if its watch is delayed, for as long as that.
//   - Pods are told apart, not terms, nor containers: a goroutine that was left over
//     from an earlier term of a pod that leads again is let through.
//   - A Lease that has lapsed still names its holder, whose writes are accepted until
//     another one is written into it.
//   - While nobody holds the Lease, all writes are refused. The first writes of a
//     new leader may be, for some milliseconds.
//   - While the Lease does not exist nobody may write: not even those who are not
//     fenced. See [Fence].OpenWithoutLease.
//
// # Refusals
//
// A refused write comes back as an error that [IsStale] knows, and that names the
// Lease, its holder and the writer.
package fencing
