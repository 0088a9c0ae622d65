// Package health answers the probes of the kubelet for Electors.
//
//	h := health.New(health.WithReview(clientset))
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, h.Option())
//	http.Handle("/livez", health.Handler(h.Live))
//	http.Handle("/readyz", health.Handler(h.Ready))
//
// The checks have the form of controller-runtime's healthz.Checker: hand them to
// AddHealthzCheck and AddReadyzCheck. Package manager has them ready made. One
// [Health] serves any number of Electors, and fails if one of them fails.
//
// # Live
//
// [Health.Live] fails only when nothing but a new process helps: a loop of the
// Elector stands still (a client that ignores the contexts of its requests can do
// that), or the work of a term has outlived it (leaderelection.ErrWorkStillRunning).
// It does not fail while the API server is away, for then a new process would fare
// no better; nor for being a follower, for losing leadership or for work that takes
// long to stop while the Lease goes on being renewed for it.
//
// # Ready
//
// [Health.Ready] means that the Elector can take part: it runs, it has heard of the
// Lease of late, and its rights suffice. It never means that this process leads.
// A Deployment whose followers are not ready does not finish its rollout: the new
// pod waits for the Lease, and the old one that holds it is stopped only once the
// new one is ready. Nor would a follower be counted by a PodDisruptionBudget, and a
// webhook that any replica can answer would be left to one of them. To send requests
// to the leader alone, let it label its pod, see package routing, or let the
// followers answer with the leader's name.
//
// Heard of late means within LeaseDuration, or three RetryPeriods if that is
// longer: a failed request or two make nobody unready. When the API server is away
// for longer than that, all replicas are unready: if they serve anything that goes
// on without the API server, leave Ready out of their readiness probe.
//
// Rights: a follower that has written nothing yet does not know whether it may.
// With [WithReview] the API server is asked (SelfSubjectAccessReviews, which
// everybody may create, for get, create and update), at most every five minutes, or
// every ten seconds while something is missing. Without it a missing right shows at
// the first write that is refused. A missing right to watch, to record events, or to
// create a Lease that somebody has held makes nobody unready: the election works without.
package health
