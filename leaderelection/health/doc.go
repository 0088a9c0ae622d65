// Package health provides liveness and readiness checks for Electors.
//
//	h := health.New(health.WithReview(clientset))
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, h.Option())
//	http.Handle("/livez", health.Handler(h.Live))
//	http.Handle("/readyz", health.Handler(h.Ready))
//
// The checks have the form of controller-runtime's healthz.Checker. Pass them to
// AddHealthzCheck and AddReadyzCheck. Package manager provides them ready to use. One
// [Health] serves any number of Electors, and fails if one of them fails.
//
// # Live
//
// [Health.Live] fails only if nothing but a restart of the process helps. There are two
// such cases. A loop of the Elector makes no progress, for example because the client
// ignores the contexts of its requests. Or callbacks have outlived their term
// (leaderelection.ErrWorkStillRunning).
//
// Live does not fail while the API server is unreachable, because a new process could
// not reach it either. It does not fail for followers or after a lost term. It does not
// fail while callbacks take long to stop and the Lease is still renewed for them.
//
// # Ready
//
// [Health.Ready] reports whether the Elector can take part in the election: it runs, the
// API server has recently answered about the Lease, and its rights suffice. Ready does
// not mean that this process leads.
//
// Do not report followers as not ready. The rollout of their Deployment would never
// finish: the new Pod waits for the Lease, and the old Pod that holds the Lease is
// stopped only when the new one is ready. A PodDisruptionBudget would not count
// followers, and a webhook that any replica can answer would have one replica. To send
// requests only to the leader, let the leader label its Pod (see package routing), or
// let followers answer with the leader's name.
//
// "Recently" means within LeaseDuration, or within three RetryPeriods if that is longer.
// One or two failed requests therefore do not make a replica unready. If the API server
// is unreachable for longer, all replicas are unready. If they serve anything that works
// without the API server, leave Ready out of their readiness probe.
//
// A follower that has not written yet does not know whether it has the rights. With
// [WithReview], Ready asks the API server with SelfSubjectAccessReviews for get, create
// and update. Every user may create these reviews. Ready asks at most every five
// minutes, or every ten seconds while a right is missing. Without WithReview, a missing
// right shows at the first write that is refused. The rights to watch the Lease, to
// record events, and to create a Lease that already had a holder are not required.
package health
