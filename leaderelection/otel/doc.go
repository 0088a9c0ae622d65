// Package otel exports spans and metrics of Electors through OpenTelemetry. It is a Go
// module of its own, so that programs without OpenTelemetry do not depend on it.
//
//	option, err := otel.Option(tracerProvider, meterProvider)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, option)
//
// # Spans
//
// All spans have the attributes k8s.namespace.name and incumbent.lease.name.
//
//	incumbent.term      from the start of a term's work to the end of the term. It has the attributes
//	                    incumbent.term.token (the fencing token), incumbent.term.previous,
//	                    incumbent.term.reason and incumbent.term.released, and the event "stopping" when
//	                    leadership ends. Its status is an error if the leadership was lost or the work
//	                    did not stop in time. It links to the span of its claim.
//	incumbent.claim     one attempt to claim the Lease. It is a root span.
//	incumbent.release   one attempt to release the Lease. It is a child of the term's span.
//
// Spans are created from reports, after the events. Therefore the context of the work
// does not contain the span of its term. Renewals have no spans, because there are too
// many. A term's span is exported when the term ends, and not if the process is killed.
//
// # Metrics
//
// All metrics have the attributes k8s.namespace.name and incumbent.lease.name.
//
//	incumbent.leader_election.leading            gauge: 1 while this process leads, as reported by IsLeader, else 0;
//	                                             while Run runs
//	incumbent.leader_election.terms              counter, {term}: terms ended; incumbent.term.reason is
//	                                             cancelled, stepped_down, renewal_failed, overtaken,
//	                                             lease_deleted, history_rewound or other
//	incumbent.leader_election.handover.duration  histogram, s: time from the previous leader's last observed write
//	                                             to the start of this process's term; incumbent.term.previous is
//	                                             released, expired, deleted or own
//	incumbent.leader_election.stop.duration      histogram, s: time that the callbacks of a term took to return
//	incumbent.leader_election.request.duration   histogram, s: time of a request for the Lease;
//	                                             incumbent.request.purpose is claim, renew, release, read or
//	                                             nominate. A failed request has error.type, see
//	                                             leaderelection.Request. Cancelled requests are not counted.
//
// If two Electors of a process campaign for one Lease, their gauges have the same attributes.
package otel
