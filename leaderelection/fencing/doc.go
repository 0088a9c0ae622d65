// Package fencing makes the API server refuse the writes of a leader that does not know
// yet that it has lost its leadership.
//
// An election alone cannot stop a leader that was frozen, nor a request that was sent
// before its sender lost the Lease. The store of the written data can: it checks with
// each write whether the writer still leads. For objects in Kubernetes this check is an
// admission policy, which the API server enforces. No component of this module runs in
// the cluster. Other stores check the fencing token of the term, see below.
//
// # Usage
//
// A [Fence] describes the Lease, the service account of the replicas, and the resources
// that only the leader writes. [Policy] returns its admission policy. An administrator
// applies the policy once. This command prints it as YAML:
//
//	go run github.com/haproxy-template-ic/incumbent/hack/fence@latest \
//		-lease my-namespace/my-app-leader -service-account my-app \
//		-resources configmaps,deployments.apps | kubectl apply -f -
//
// The Lease must exist before the policy. With -with-lease the command prints the Lease
// too. To remove the Fence, pipe the command's output without -with-lease to kubectl
// delete. Do not delete the Lease, because that ends the leader's term.
//
// Before the first Fence [ByPod] of a cluster, apply the [AnchorPolicy] once, and leave it
// there (the same command with -keeper). Without it, a Fence that is removed and applied
// again may be evaluated with the holders of the day on which it was removed.
//
// While the Lease exists, a Fence affects only that service account, and only its writes
// of the guarded resources and their subresources. Reads, Leases and Events are never
// affected. Dry runs count as writes. Writes of the service account with impersonation
// count as writes of the impersonated user.
//
// Kubernetes 1.30 or later is required, where these admission policies are in v1.
//
// To add a Fence to a running program, proceed in this order:
//
//  1. Roll out what the mode needs: an identity with the pod's name, or the
//     StampTransport.
//  2. Apply the Fence with ReportOnly and look for warnings.
//  3. Apply the Fence without ReportOnly.
//
// # By pod
//
// With [ByPod] a write passes if the holder of the Lease is the pod of the writer's
// token: the holder is the pod's name, or begins with the pod's name and "_". The
// identities of controller-runtime and of package manager have that form. The program
// need not be changed, but its identity must contain the pod's name. Take the name from
// POD_NAME, set by the downward API. The hostname may differ: with hostNetwork it is the
// node's.
//
// These operations are guarded: create, update, patch, server-side apply, delete,
// deletecollection, subresources such as status and scale, and exec, attach and
// portforward of pods. These are not guarded:
//
//   - connections through the proxy of a pod, a service or a node, because they may be
//     reads,
//   - the resources of aggregated API servers, which would need a check of their own,
//   - admission policies and their bindings.
//
// # Guarantees and limits of by pod
//
// An API server refuses the writes of every pod except the holder that it has observed.
// It observes a new holder by a watch, usually within milliseconds.
//
//   - One object and one API server: after the first write of a later holder that changed
//     the object, no write of an earlier holder is stored. The API server evaluates the
//     policy again if the object has changed in the meantime. A first write without a
//     change, such as a repeated apply, does not have this effect. With ByPod | ByTerm it
//     does, because the new stamp is a change. Evictions and bindings of pods are
//     excepted, because the policy is evaluated once, before the pod is written.
//   - Several objects: there is no such guarantee. A write that passed the policy just
//     before the API server observed the new holder is stored after the webhooks have
//     responded. Without webhooks that takes a moment, otherwise up to 30 s, the longest
//     timeout of a webhook. By then the new holder may have written another object. The
//     same holds for creations.
//   - Several API servers: they observe a new holder one after the other. An API server
//     that has not observed it still accepts writes of the old holder, while another one
//     accepts those of the new holder. A delayed watch extends this time.
//   - Pods are distinguished by name, not terms or containers. A goroutine of an earlier
//     term passes if its pod leads again. A force-deleted pod of a StatefulSet that still
//     runs passes while its replacement of the same name leads, until its token becomes
//     invalid about ten seconds after the deletion. By term has no such gap.
//   - An expired Lease still names its holder. The holder's writes pass until another
//     holder is written.
//   - While the Lease has no holder, all writes of the service account are refused. The
//     first writes of a new leader may be refused for some milliseconds, see Refusals.
//   - While the Lease does not exist, nobody can write or delete the guarded resources, see
//     [Fence].OpenWithoutLease. A Fence around the candidates' own pods needs that field,
//     because otherwise no candidate could be started. The same happens while an API
//     server that was just started has not read the Lease. A namespace that is deleted
//     together with its Lease and guarded objects is never removed completely: delete the
//     policy before it, or afterwards.
//
// # By term
//
// With [ByTerm] each object has an annotation with the fencing token of the term in which
// it was written. A write with a lower token than the stored one is refused. The program
// writes through a [StampTransport], with the context that was passed to the leader's
// work. The tokens are compared on the object itself, and the database stores a write only
// if the object has not changed since. So there is no lag: the guarantee for one object
// holds with any number of API servers, until the object is deleted. It distinguishes
// terms, not only pods. The Lease is not read: a Lease that has no holder or does not
// exist refuses no write. To use both modes, set ByPod | ByTerm, or use two Fences with a
// Name each if the Fence by pod has OpenWithoutLease.
//
// By term does not cover:
//
//   - An object that the new leader has not written yet. The old leader's writes of it
//     pass. If that matters, the new leader must write every object once.
//   - Creations, because there is nothing to compare. Creations and updates must carry a
//     token nevertheless. With by term alone a stale leader can delete an object, create
//     it again, and continue from there.
//   - Deletions, bindings, and writes of subresources such as scale. They cannot carry a
//     token and pass with by term alone. By pod refuses them. A binding with a token is
//     refused, because the API server would copy the token to the pod.
//   - Some statuses. The status of most kinds of Kubernetes is written with the
//     annotations of the object, so its updates and patches are stamped and compared.
//     Custom resources and a few other kinds ignore annotations there, and server-side
//     apply carries none. These writes pass and keep the stamp.
//   - Paths in which the StampTransport finds no resource. Such a write fails with
//     [ErrNotStampable]. The API server may be behind a prefix.
//   - Clients of the same service account without a StampTransport. Their creations, and
//     their updates without the annotation, are refused. A client that reads an object
//     and writes it back carries the token that it read, and passes.
//   - Other users, who may also change the annotation.
//   - Objects that were copied to another cluster, or restored there from a backup of
//     objects. Their tokens have no meaning there, and may be higher than any new one.
//     Remove the annotation. The refusal contains its value, [AnnotationKey] returns its
//     key.
//   - A leader that was frozen before the database was restored from a backup. The backup
//     contains the tokens and the numbers that they are taken from, so new terms have
//     greater tokens. But the frozen leader may have a still greater token of the lost
//     history. Its write passes when it resumes, and its stamp then refuses the current
//     leader's writes. Remove that stamp.
//
// # Refusals
//
// A refused write returns an error that [IsStale] recognises. The error names the Lease,
// its holder and the writer. By term it names the term and the leader that wrote the
// object instead of the holder. If the API server has no Lease, the message is the API
// server's own, and names the policy.
//
// Either the term has ended, or the API server has not observed the new leader yet.
// [RetryTransport] finds out which: the Elector reads the Lease once. If the term
// continues, the write is sent again for up to a second. If another candidate holds the
// Lease, the term ends. Without RetryTransport the program retries later, as controllers
// do, and its Elector ends the term.
//
// If all writes are refused, check the identity, which must contain the pod's name and not
// another hostname. Also check that the pods run under that service account, with bound
// tokens as the kubelet's are. If a refusal names a former holder, the API server has
// stopped following Leases because there was no [AnchorPolicy]. Restart it.
//
// # Other stores
//
// [leaderelection.Token] is a number that is greater in each later term, also after the
// Lease was deleted. It may be lower after the cluster's database was restored from a
// backup. The store then refuses every write, until the stored token is raised by hand or
// the tokens have caught up.
//
// A database that begins each transaction with a condition on the highest token so far
// refuses a frozen leader as soon as a later one has written anything. A store without
// transactions keeps the token with each object and compares in one step, by a condition
// in SQL or a precondition of an object store. It then has the limits of by term: objects
// that the later leader has not written, and new and deleted objects, are not protected.
// The examples of this package show all three.
//
// # Measured
//
// Two pods, each with its own identity, write two objects as fast as possible during
// handovers. Each write is a change, and there are no webhooks. These are the results of
// six runs of go test ./envtest -run UnderFire -v on two shared CPU cores:
//
//   - By pod, one API server, 200 handovers in each: 691 to 724 stale writes were
//     refused; none was accepted after the new leader's first one of the same object,
//     and 1 or 2 after its first one of the other. A new leader waited for its first
//     accepted write for 3.1 to 3.6 ms in the median, 62 ms at most.
//   - By pod, two API servers, 50 handovers in each: two stale writes in the six runs
//     were accepted after the new leader's first one of the same object, 1.8 and 13 ms
//     after it. A new leader waited for 3.0 to 6.3 ms in the median, 36 ms at most.
//   - By term, one API server and two, 50 handovers in each: none of the same object.
//     Of an object that the new leader has not written yet, about two were accepted in
//     each handover. A new leader waited for 5.1 to 11 ms in the median, 62 ms at most:
//     it writes beside an old one that is not refused yet.
//
// These are the costs of a guarded write, relative to the same write without a Fence, in
// three runs of make bench BENCHFLAGS='-only fence'. Each write keeps the stamp, as every
// write of an object in a term except the first:
//
//   - Of a Deployment: 1.04 to 1.06 by pod, 1.03 to 1.04 by term, 1.06 to 1.07 with both.
//   - Of a ConfigMap of one number, the smallest possible write: 1.07 to 1.08 by
//     pod, 1.03 to 1.04 by term, 1.08 to 1.10 with both.
//   - Of that ConfigMap by another user: 1.08 to 1.09 by pod, 1.05 to
//     1.06 by term, 1.09 to 1.11 with both.
//
// The simplest possible policy costs 1.01 to 1.03.
//
// # Tests
//
// Package envtest installs a Fence (InstallFence) and has clients with the token of a pod
// (ServiceAccount.Pod), on any API server whose user may impersonate.
package fencing
