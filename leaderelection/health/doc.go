// Package health provides liveness and readiness checks for Electors.
//
//	h := health.New(health.WithReview(clientset))
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, h.Option())
//	http.Handle("/livez", health.Handler(h.Live))
//	http.Handle("/readyz", health.Handler(h.Ready))
//
// The checks have the signature of controller-runtime's healthz.Checker. Pass them to
// AddHealthzCheck and AddReadyzCheck. Package manager provides the same checks for its
// Managers. One [Health] checks any number of Electors. A check fails if the check fails
// for any of these Electors.
//
// # Which Electors are checked
//
// A Health checks an Elector from New until Run returns nil, and again when Run is called
// again. An Elector whose Run was not called is not ready. If Run returns an error, Ready
// fails with this error until an Elector for the same Lease runs.
//
// The Option of a Health may be passed to any number of Electors, even if they campaign
// for the same Lease. A Health keeps no Elector alive. If several Leases have the same
// name, the errors contain the API server. If that is also the same, the errors contain
// the identity.
//
// # Live
//
// [Health.Live] fails only if a restart of the process is the only remedy. There are three
// such cases:
//
//   - A loop of the Elector makes no progress, or a method of the Elector does not return.
//   - The callbacks of a term did not return in time after the term ended
//     (leaderelection.ErrWorkStillRunning). Live fails until they return, even after Run
//     has returned.
//   - StopTimeout is 0, and the Lease has been held for more than four LeaseDurations for
//     callbacks that were asked to stop.
//
// Live succeeds while the API server is unreachable, because a new process could not
// reach the API server either. Live also succeeds for followers, and after a loss of
// leadership. In all other cases, Live succeeds while callbacks take long to stop, if the
// Elector still renews the Lease.
//
// # Ready
//
// [Health.Ready] fails if the Elector cannot take part in the election. It succeeds if
// all of these conditions hold:
//
//   - Run runs.
//   - The API server has recently answered about the Lease.
//   - The requests have recently succeeded, or this process leads, or another candidate
//     leads. A leader whose renewals fail stops leading. A follower needs no requests
//     that write until the Lease is free.
//   - The process has the necessary rights.
//
// Ready does not mean that this process leads.
//
// Do not report followers as not ready. A rollout of their Deployment would never finish.
// The new Pod would wait for the Lease that the old Pod holds. The Deployment stops the
// old Pod only when the new Pod is ready. A PodDisruptionBudget would not count followers
// as healthy. Webhook requests would reach only the leader, even if every replica can
// serve them. To send requests only to the leader, let the leader label its Pod (see
// package routing). Followers can also answer requests with the leader's name.
//
// Here, "recently" means within LeaseDuration or within three RetryPeriods, whichever is
// longer. Therefore one or two failed requests do not make a replica unready. If the API
// server is unreachable for a longer time, all replicas are unready. If your replicas
// serve requests that do not need the API server, do not use Ready in their readiness
// probe.
//
// # Rights
//
// Without WithReview, Ready reports a missing right only after the API server has
// refused a request. A follower can run for a long time without a write. With
// [WithReview], Ready asks the API server about the rights to get, create and update
// the Lease. For this, Ready creates SelfSubjectAccessReviews, which require no special
// rights. If no right is missing, Ready asks again after five minutes. If a right is
// missing or the review fails, Ready asks again after ten seconds. Ready does not
// require these rights:
//
//   - to watch the Lease
//   - to record events
//   - to create the Lease, if the process has observed a holder of the Lease
//
// While nobody leads, a claim that the API server refuses with status 401, 403 or 404
// makes Ready fail at once. While another candidate leads, a refused write makes Ready
// fail only if the right to update the Lease is missing. In particular, an admission
// policy may refuse the nomination of a successor. The follower remains ready, because
// the policy may allow its claim.
package health
