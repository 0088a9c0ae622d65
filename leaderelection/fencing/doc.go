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
// with the rights of an administrator applies it, once. The kubectl plugin
// leaderelection/kubectl-lease prints the same as YAML:
//
//	kubectl lease fence -n my-namespace my-app-leader --service-account my-app \
//		--resources configmaps,deployments.apps | kubectl apply -f -
//
// The Lease must exist by then; with --with-lease it is printed, too. The same command
// without that, and with kubectl delete, takes the Fence away and leaves the Lease
// alone, whose deletion would end the leader's term.
//
// Before the first Fence [ByPod] of a cluster, apply the [Keeper], once, and leave it
// there (kubectl lease fence --anchor prints it): without it a Fence that is taken away and
// put back may be asked with the holders of the day on which it was taken away.
//
// While the Lease exists nobody but that service account is fenced off, and of its
// writes only those of the resources that were named, with their subresources: never
// reads, never Leases, never Events. Dry runs are writes. What the service account
// writes while it impersonates somebody else counts as that other's.
//
// It wants Kubernetes 1.30 or later, where admission policies of this kind are in v1.
//
// A program that runs already gets its Fence in this order: first roll out what the
// mode needs, an identity made of the pod's name or the StampTransport; then apply the
// Fence with ReportOnly and look for warnings; then without it.
//
// # By pod
//
// With [ByPod] a write is let through if the pod's name in the writer's token is
// what the Lease names as holder, or what it names begins with the pod's name and
// "_", as the identities of controller-runtime and of package manager do. The
// program need not be changed, but its identity must be made of its pod's name: give
// it POD_NAME from the downward API. The hostname is not always the pod's name, with
// hostNetwork it is the node's.
//
// All is covered: create, update, patch, server-side apply, delete,
// deletecollection, and subresources such as status and scale. Of connections only
// exec, attach and portforward of pods are; what goes through the proxy of a pod, a
// service or a node is not asked about, for it may be a mere read. Nor are the
// resources of aggregated API servers, which would have to ask themselves, nor
// admission policies and their bindings.
//
// # What by pod guarantees, and what not
//
// An API server refuses the writes of every pod but the holder, as far as it knows
// who that is. It learns of a new holder by a watch, as a rule within milliseconds.
//
//   - Of one object, and through one API server, no write of an earlier holder is
//     stored after the first one of a later holder that changed the object: the API
//     server asks the policy again whenever it has changed meanwhile. A first write
//     that changes nothing, such as an apply of what is there, keeps nobody out; with
//     ByPod | ByTerm it does, for a new stamp is a change. Evictions and bindings of
//     pods are excepted: the policy is asked once, before the pod is written.
//   - Across several objects that is not certain. A write that passed the policy just
//     before the API server heard of the new holder is stored when the webhooks that
//     are asked after the policy have answered: in a moment if there are none, or up
//     to 30 s later, the longest time-out of a webhook. By then the new holder may have
//     written another object. The same holds for a creation.
//   - Several API servers hear of a new holder one after the other. One that has not
//     heard goes on accepting the old holder's writes while the new one's are
//     accepted elsewhere; if its watch is delayed, for as long as that.
//   - Names of pods are told apart, not terms, nor containers: a goroutine that was
//     left over from an earlier term of a pod that leads again is let through. So is a
//     pod of a StatefulSet that was deleted by force and is still at work, while its
//     successor of the same name leads: until its token is void, about ten seconds
//     after it was deleted. By term has no such gap.
//   - A Lease that has lapsed still names its holder, whose writes are accepted until
//     another one is written into it.
//   - While nobody holds the Lease, all writes of the service account are refused. The
//     first writes of a new leader may be, for some milliseconds: see Refusals.
//   - While the Lease does not exist nobody may write or delete what is guarded, not
//     even those who are not fenced off: see [Fence].OpenWithoutLease. A Fence around
//     the candidates' own pods needs that, or none of them could be started. The policy is
//     asked in the same way while an API server that has just started does not know
//     the Lease yet. So a namespace that is deleted with its Lease and with guarded
//     objects in it never ends: remove the policy first, or now.
//
// # By term
//
// With [ByTerm] each object carries, in an annotation, the token of the term in which
// it was written, and a write whose token is lower than the stored one is refused.
// The program writes through a [StampTransport], with the context that the work of
// the term was given. What is compared stands on the object itself, and the database
// stores a write only if the object is still the one that was compared. So there is
// no lag: the guarantee of one object holds for any number of API servers, and tells
// terms apart, not only pods; until the object is deleted. Nothing is asked of the
// Lease: that nobody holds it, or that it does not exist, refuses no write. Use both
// together, ByPod | ByTerm, where both matter; or two Fences, each with a Name, if the
// one by pod is to be open without the Lease.
//
// What by term does not cover:
//
//   - An object that the new leader has not written yet: the old one's writes of it
//     are accepted. A new leader that must be sure writes every object once.
//   - Creations: there is nothing to compare with. They must carry a token all the
//     same, and so must updates. So by term alone a stale leader may delete an object,
//     create it anew, and go on from there.
//   - Deletions, bindings, and writes of subresources such as scale: they cannot carry
//     a token, and by term alone they are let through. By pod refuses them. A binding
//     that carries one is refused, for it would be put on the pod.
//   - A status: that of most of Kubernetes' own kinds is written with the annotations
//     of its object, so updates and patches of it are stamped and compared. Custom
//     resources and a few others ignore annotations there, and server-side apply
//     brings none: these are let through, and leave the stamp as it is.
//   - What the StampTransport cannot tell the resource of: such a write fails with
//     [ErrNotStampable]. The API server may be behind a path of its own.
//   - Clients of the same service account that do not write through a StampTransport:
//     a creation is refused, and so is an update without the annotation. But what
//     reads an object and writes it back carries the token that it read, and passes.
//   - Users who are not fenced off, who may change the annotation too.
//   - Objects that are copied into another cluster, or restored there from a backup
//     of objects: their tokens mean nothing there, and may be higher than any new
//     one. Remove the annotation, which the refusal names by its value and
//     [AnnotationKey] by its key.
//   - A database that was restored from a backup holds the tokens and the numbers that
//     they are taken from, so new terms go on from there. But a leader that was frozen
//     before the restoration has a token of a future that is no more: its write passes
//     when it wakes, and leaves a stamp that refuses the real leader's. Remove it.
//
// # Refusals
//
// A refused write comes back as an error that [IsStale] knows, and that names the
// Lease, its holder (by term: the term and leader who wrote the object, if the writer
// is in a term itself) and the writer. Where the Lease does not exist, or the API
// server has just started and has not read it yet, the words are the API server's
// own, and name the policy.
//
// A refusal may mean that the term is over, or that the API server has not heard of
// the new leader yet. [RetryTransport] finds out: it asks the Elector, who looks at
// the Lease once. While the term goes on, the write is sent again, for up to a second;
// if another one holds the Lease, the term ends. A program without it tries again
// later, as controllers do, and hears of the end of its term from its Elector.
//
// If writes are refused all the time, the holder's identity is not made of the name
// of its pod (the hostname was taken for it), or the pods do not run under that service
// account with tokens that are bound to them, as those of the kubelet are. If the refusal
// names a holder of former times, the API server has stopped following Leases, because
// there was no [Keeper]: restart it.
//
// # Other stores
//
// [leaderelection.Token] is a number that is greater in each later term, also after
// the Lease was deleted, but not after the cluster's database was restored from a
// backup: until its numbers have caught up the store refuses every write, so raise
// what is kept there by hand.
//
// A database that begins each transaction with a condition on the highest token so far
// is closed to a frozen leader as soon as a later one has written anything. A store
// without transactions keeps the token with each thing that is written, and compares
// in one step: a condition in SQL, or a precondition of an object store. There it is
// as by term: what the later leader has not written yet is open, and so is what is
// new or deleted. The examples of this package show all three.
//
// # Measured
//
// Two pods write two objects as fast as they can while the Lease changes hands, each
// with its own; each write is a change, and there are no webhooks. Six runs of
// go test ./envtest -run UnderFire -v on two shared cores:
//
//   - By pod, one API server, 200 handovers in each: 691 to 724 stale writes were
//     refused; none was accepted after the new leader's first one of the same object,
//     and 1 or 2 after its first one of the other. A new leader waited for its first
//     accepted write for 3.1 to 3.6 ms in the middle, 62 ms at worst.
//   - By pod, two API servers, 50 handovers in each: two stale writes in the six runs
//     were accepted after the new leader's first one of the same object, 1.8 and 13 ms
//     after it. A new leader waited for 3.0 to 6.3 ms in the middle, 36 ms at worst.
//   - By term, one API server and two, 50 handovers in each: none of the same object.
//     Of an object that the new leader has not written yet, about two were accepted in
//     each handover. A new leader waited for 5.1 to 11 ms in the middle, 62 ms at worst:
//     it writes beside an old one that is not refused yet.
//
// What a guarded write costs, in three runs of make bench BENCHFLAGS='-only fence', as a
// multiple of the same write without a Fence. Each keeps the stamp, as all writes of a
// term but the first one of an object do:
//
//   - Of a Deployment: 1.04 to 1.06 by pod, 1.03 to 1.04 by term, 1.06 to 1.07 with both.
//   - Of a ConfigMap of one number, the least that there is to write: 1.07 to 1.08 by
//     pod, 1.03 to 1.04 by term, 1.08 to 1.10 with both.
//   - Of that ConfigMap by somebody who is not fenced off: 1.08 to 1.09 by pod, 1.05 to
//     1.06 by term, 1.09 to 1.11 with both.
//
// Of this, the plainest policy that there can be costs 1.01 to 1.03.
//
// # Tests
//
// Package envtest puts a Fence into force (InstallFence) and has clients that are one
// pod or the other (ServiceAccount.Pod), on any API server whose user may impersonate.
package fencing
