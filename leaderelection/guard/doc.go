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
// A write passes only if its context carries a term, that context is not done, and
// the Elector leads in that same term with certainty. A goroutine that survived an
// earlier term is refused, and so is the first write of a process that was frozen.
// The Elector passes a context with the term to OnStartedLeading. Package manager
// passes one to the runnables of a leader.
//
// Reads pass. So do writes of some API groups:
//
//   - Leases, because nobody could be elected otherwise,
//   - Events, because they report what went wrong,
//   - reviews of tokens and access, because they change nothing.
//
// Exec, attach and portforward are writes, whatever their method is. A GET through
// the proxy of a pod, a service or a node is a read. A write that is sent through
// such a proxy is always checked, because the guard does not know its receiver.
//
// The API server may be behind any prefix, such as /k8s/clusters/c-1.
//
// # What the guard does not promise
//
// The guard runs in the writing process. A write that was sent in time may arrive
// after the term. Only package fencing refuses such a write.
package guard
