// Package guard refuses the writes of a process that does not lead.
//
// [Check] reports whether a write with a given context may be sent. [Transport]
// checks each request to the API server, for clients of client-go and
// controller-runtime:
//
//	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
//		return guard.Transport(elector, next)
//	})
//
// # Which writes pass
//
// A write passes only if its context carries a term, the context is not done, and the
// Elector certainly leads in that term. Therefore the guard refuses the writes of a
// goroutine that still runs after its term has ended. It also refuses the writes of a
// process that was frozen for too long, because its leadership is no longer certain.
// The Elector passes a context with the term to OnStartedLeading. Package manager
// passes such a context to the runnables of a leader.
//
// All reads pass. Writes of these resources also pass:
//
//   - Leases, because otherwise no candidate could be elected,
//   - Events, because they report problems,
//   - reviews of tokens and access, because they change no object.
//
// Exec, attach and portforward count as writes, even if their method is GET. A GET
// through the proxy of a pod, a service or a node is a read. A write through such a
// proxy is always checked, because the guard cannot find out whether the resource
// behind the proxy is exempt.
//
// The path of a request may begin with any prefix, such as /k8s/clusters/c-1.
//
// # What the guard does not promise
//
// The guard runs in the writing process. A write that was sent during the term may
// arrive at the API server after the end of the term. Only package fencing refuses
// such a write.
package guard
