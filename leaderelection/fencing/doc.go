// Package fencing makes the API server refuse the writes of a leader that has lost its
// leadership and has not noticed it yet.
//
// An election alone cannot stop a leader that was frozen and then resumes. It also
// cannot stop a request that was sent before its sender lost the Lease. The store that
// receives the writes can stop them: it can check at each write whether the writer
// still leads. For objects in Kubernetes, this check is an admission policy, which the
// API server enforces. No component of this module runs in the cluster. Other stores
// compare the fencing token of the term, see the section "Other stores".
//
// # Usage
//
// A [Fence] describes the Lease, the service account of the replicas, and the resources
// that only the leader writes. [Policy] returns the admission policy of a Fence. An
// administrator applies the policy once. The kubectl plugin
// leaderelection/kubectl-lease prints the policy as YAML:
//
//	kubectl lease fence -n my-namespace my-app-leader --service-account my-app \
//		--resources configmaps,deployments.apps | kubectl apply -f -
//
// Create the Lease before the policy. With --with-lease the command also prints the
// Lease. To remove the Fence, run the command without --with-lease and pipe its output
// to kubectl delete. Do not delete the Lease, because that ends the leader's term.
//
// Apply the [AnchorPolicy] once in each cluster, before the first Fence with the mode
// [ByPod], and never delete it. The command "kubectl lease fence --anchor" prints it.
// Without the AnchorPolicy, a Fence that is removed and applied again may be evaluated
// with an outdated holder: the candidate that held the Lease when the Fence was removed.
//
// While the Lease exists, a Fence affects only the writes of its service account to the
// guarded resources and their subresources. Reads, and writes of Leases and Events, are
// never affected. Dry runs count as writes. If the service account impersonates another
// user, its writes count as writes of that user.
//
// Kubernetes 1.30 or later is required, because earlier versions do not serve admission
// policies in v1.
//
// To add a Fence to a running program, proceed in this order:
//
//  1. Roll out what the mode requires: for ByPod an identity that begins with the pod's
//     name, for ByTerm a StampTransport.
//  2. Apply the Fence with ReportOnly and look for warnings.
//  3. Apply the Fence without ReportOnly.
//
// # By pod
//
// With [ByPod] a write passes if the pod of the writer's token holds the Lease. This is
// the case if the holder in the Lease is the pod's name, or begins with the pod's name
// and "_". The identities of controller-runtime and of package manager have that form.
// The code of the program need not change, but its identity must begin with the pod's
// name. Take the name from the environment variable POD_NAME, set by the downward API.
// The hostname may differ from the pod's name: with hostNetwork it is the node's name.
//
// These operations are guarded: create, update, patch, server-side apply, delete,
// deletecollection, writes of subresources such as status and scale, and exec, attach
// and portforward of pods. These are not guarded:
//
//   - connections through the proxy of a pod, a service or a node, because they may be
//     reads,
//   - the resources of aggregated API servers, which would need a check of their own,
//   - admission policies and their bindings.
//
// # Guarantees and limits of by pod
//
// Each API server refuses the writes of every pod except the holder that this API
// server has observed last. Each API server watches the Lease, and usually observes a
// new holder within milliseconds.
//
//   - One object and one API server: once a new holder has changed the object, no write
//     of an earlier holder to this object is stored. The reason is that the API server
//     evaluates the policy again if the object has changed since the first evaluation.
//     A write that changes no field, such as a repeated apply, does not cause the
//     second evaluation. With ByPod | ByTerm the first write of a term always causes
//     the second evaluation, because the write changes the stamp. Evictions and
//     bindings of pods are excepted, because the API server evaluates their policy only
//     once, before it writes the pod.
//   - Several objects: the guarantee does not extend from one object to another. A
//     write may pass the policy just before the API server observes the new holder.
//     This write is stored when the webhooks have responded: within milliseconds
//     without webhooks, otherwise after up to 30 s, the longest timeout of a webhook.
//     Meanwhile the new holder may have written another object. Creations have no
//     guarantee at all.
//   - Several API servers: each observes a new holder at a different time. One API
//     server may still accept writes of the old holder while another already accepts
//     those of the new holder. A delayed watch extends this time.
//   - Pods are distinguished by their names, not by terms or containers. The writes of
//     a goroutine of an earlier term pass if its pod leads again. In a StatefulSet, a
//     force-deleted pod may still run while its replacement of the same name leads. Its
//     writes pass until its token becomes invalid, about ten seconds after the
//     deletion. The mode by term has neither of these two gaps.
//   - An expired Lease still names its holder. The holder's writes pass until another
//     candidate has claimed the Lease.
//   - While the Lease has no holder, all writes of the service account to the guarded
//     resources are refused. The first writes of a new leader may be refused for some
//     milliseconds, see the section "Refusals".
//   - While the Lease does not exist, no user can write or delete the guarded
//     resources, unless the Fence has [Fence].OpenWithoutLease. A Fence around the
//     candidates' own pods needs that field, because otherwise no candidate could be
//     started. Writes are also refused while an API server that has just started has
//     not read the Lease yet. If a namespace is deleted with its Lease and guarded
//     objects, the deletion does not complete while the policy exists. Delete the
//     policy before the namespace, or afterwards.
//
// # By term
//
// With [ByTerm] each object has an annotation, its stamp. The stamp contains the
// fencing token of the term in which the object was written. A write with a lower token
// than the stored one is refused. The program writes through a [StampTransport], with
// the context that was passed to the leader's work.
//
// The API server compares the tokens on the object itself. The database stores a write
// only if the object has not changed since the comparison. Therefore the guarantee for
// one object holds without delay, with any number of API servers, until the object is
// deleted. The guarantee distinguishes terms, not only pods.
//
// The policy does not read the Lease. Therefore no write is refused because the Lease
// has no holder or does not exist. To use both modes, set ByPod | ByTerm. If the Fence
// by pod has OpenWithoutLease, use two Fences instead, each with its own Name.
//
// By term does not cover:
//
//   - An object that the new leader has not written yet. The old leader's writes of
//     this object pass. If that matters, the new leader must write every object once.
//   - Creations, because there is no stored token to compare. Creations and updates
//     must carry a token nevertheless. With by term alone, a stale leader can delete an
//     object, create it again, and continue to write it.
//   - Deletions, bindings, and writes of subresources such as scale. They cannot carry
//     a token, and pass with by term alone. By pod refuses them. A binding with a token
//     is refused, because the API server would copy the token to the pod.
//   - Some statuses. For most kinds of Kubernetes, a write of the status also writes
//     the annotations of the object. Updates and patches of these statuses are stamped
//     and compared. Custom resources and a few other kinds ignore annotations in a
//     write of the status, and a server-side apply of a status carries no stamp. These
//     writes pass and do not change the stored stamp.
//   - Paths in which the StampTransport finds no resource. A write to such a path fails
//     with [ErrNotStampable]. The path may begin with a prefix, such as that of a proxy
//     in front of the API server.
//   - Clients of the same service account without a StampTransport. Their creations,
//     and their updates without the annotation, are refused. But a client that reads an
//     object and writes it back carries the token that it read, and its write passes.
//   - Other users. They may also change the annotation.
//   - Objects that were copied to another cluster, or restored in another cluster from
//     a backup of objects. Their tokens have no meaning there, and may be higher than
//     any token of that cluster. Remove the annotation. The refusal contains its value,
//     and [AnnotationKey] returns its key.
//   - A leader that was frozen before the database was restored from a backup. The
//     backup contains the stored tokens, and also the counter from which new tokens are
//     taken. Therefore new terms have greater tokens than the stored ones. But the
//     frozen leader may have an even greater token, from the time after the backup.
//     When it resumes, its write passes, and its stamp then causes the current leader's
//     writes to be refused. Remove that stamp.
//
// # Refusals
//
// [IsStale] recognises the error of a refused write. By pod, the error names the Lease,
// its holder and the writer. By term, it names the term and the leader that wrote the
// object instead of the holder. If the Lease does not exist, the API server itself
// writes the message, which names the policy.
//
// A write is refused because its term has ended, or because the API server has not
// observed the new leader yet. [RetryTransport] finds out which of the two: it makes
// the Elector read the Lease once. If the term continues, the write is sent again for
// up to a second. If another candidate holds the Lease, the term ends. Without
// RetryTransport the program must retry later, as controllers do. The Elector then ends
// the term when its own watch or read shows the new holder.
//
// If all writes of the leader are refused, check the identity: it must begin with the
// pod's name. Also check that the pods run under the service account of the Fence, with
// tokens that are bound to the pod, as the kubelet's tokens are. If refusals keep
// naming a former holder, the API server has stopped watching Leases because there was
// no [AnchorPolicy]. Restart that API server.
//
// # Other stores
//
// [leaderelection.Token] is a number that is greater in each later term, even if the
// Lease was deleted in between. It may become lower if the cluster's database is
// restored from a backup. A store then refuses every write until you lower the stored
// token by hand, or until new tokens exceed it.
//
// A token may have up to 20 digits. The tokens of API servers that use Unix times in
// nanoseconds as resourceVersions have 19 digits. Do not compare tokens as signed
// integers of 64 bits, such as BIGINT in SQL. Do not compare them as floating-point
// numbers, such as the numbers of JavaScript and of Lua in Redis. Text of 20 digits with
// leading zeros compares correctly in every store. The format "%020d" prints a token
// like that.
//
// In a database with transactions, begin each transaction with a condition on the
// highest token so far. The database then refuses a frozen leader as soon as a later
// leader has written any data. A store without transactions keeps the token with each
// object. Such a store compares the token and writes in one step, by a condition in SQL
// or by a precondition of an object store. The limits of by term apply: objects that the
// later leader has not written are not protected, and creations and deletions are not
// protected. The examples of this package show all three stores.
//
// # Measured
//
// Two pods, each with its own identity, write two objects as fast as possible during
// handovers. Each write is a change, and there are no webhooks. These are the results
// of six runs of go test ./envtest/integration -run DuringHandovers -v on two shared
// CPU cores:
//
//   - By pod, one API server, 200 handovers in each run: 691 to 724 stale writes were
//     refused. After the new leader's first write of an object, no stale write of the
//     same object was accepted, and 1 or 2 stale writes of the other object were. A new
//     leader waited for its first accepted write for 3.1 to 3.6 ms in the median, and
//     for 62 ms at most.
//   - By pod, two API servers, 50 handovers in each run: in all six runs together, two
//     stale writes were accepted after the new leader's first write of the same object,
//     1.8 ms and 13 ms after it. A new leader waited for 3.0 to 6.3 ms in the median,
//     and for 36 ms at most.
//   - By term, with one API server and with two, 50 handovers in each run: no stale
//     write was accepted after the new leader's first write of the same object. In each
//     handover, about two stale writes were accepted of an object that the new leader
//     had not written yet. A new leader waited for 5.1 to 11 ms in the median, and for
//     62 ms at most, because an old leader that is not refused yet writes at the same
//     time.
//
// The following factors compare a guarded write with the same write without a Fence.
// They are from three runs of make bench BENCHFLAGS='-only fence'. Each measured write
// leaves the stamp unchanged, as does every write of an object in a term except the
// first:
//
//   - A Deployment: 1.04 to 1.06 by pod, 1.03 to 1.04 by term, 1.06 to 1.07 with both.
//   - A ConfigMap with one number, the smallest possible write: 1.07 to 1.08 by pod,
//     1.03 to 1.04 by term, 1.08 to 1.10 with both.
//   - The same ConfigMap, written by another user: 1.08 to 1.09 by pod, 1.05 to 1.06 by
//     term, 1.09 to 1.11 with both.
//
// With the simplest possible policy, the factor is 1.01 to 1.03.
//
// # Tests
//
// Package envtest installs a Fence in a test (InstallFence), and returns clients that
// act with the token of a pod (ServiceAccount.Pod). Both work on any API server whose
// user has the right to impersonate.
package fencing
