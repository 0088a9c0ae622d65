// Package metrics exports what Electors do as Prometheus metrics.
//
//	m := metrics.New()
//	registry.MustRegister(m)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, m.Option())
//
// One [Metrics] serves any number of Electors. Register it once. Package manager
// registers the metrics of its Electors in controller-runtime's registry by itself.
//
// # The metrics
//
// Each metric has the labels lease_namespace and lease_name. They are empty if the
// election is not enabled. Gauges are read from the Elector at each scrape. A gauge
// therefore never outlives its term and always agrees with IsLeader.
//
//	incumbent_leader_election_is_leader                    1 while this process leads, as reported by IsLeader
//	incumbent_leader_election_term                         the fencing token; only while leading
//	incumbent_leader_election_valid_seconds                how long leadership remains certain, 0 when not leading,
//	                                                       +Inf if the election is not enabled
//	incumbent_leader_election_window_seconds               how long leadership is certain after a renewal, see
//	                                                       Config.Window; only if the election is enabled
//	incumbent_leader_election_enabled                      0 if this process leads without a Lease
//	incumbent_leader_election_running                      1 while Run has not returned
//	incumbent_leader_election_stuck                        1 if only a restart of the process helps, see Elector.Stuck
//	incumbent_leader_election_watching                     1 while the Lease is watched, 0 while it is polled
//	incumbent_leader_election_successor                    1 while this process is the successor: the follower that
//	                                                       claims a released Lease first
//	incumbent_leader_election_last_contact_seconds         time since the API server last answered about the Lease;
//	                                                       absent before the first answer
//	incumbent_leader_election_leader_changes_total         observed changes of the holder, including to this process
//	incumbent_leader_election_terms_total                  terms started; previous is the outcome of the leadership
//	                                                       before: released, expired, deleted, own or none
//	incumbent_leader_election_terms_ended_total            terms ended; reason is cancelled, stepped_down, renewal_failed,
//	                                                       overtaken, lease_deleted, history_rewound or other
//	incumbent_leader_election_overruns_total               terms whose callbacks did not return in time
//	incumbent_leader_election_stop_seconds                 histogram: time that the callbacks of a term took to return
//	incumbent_leader_election_handover_seconds             histogram: from the previous leader's last observed write (its
//	                                                       release or last renewal) to the start of our term, by previous
//	incumbent_leader_election_request_duration_seconds     histogram: duration of successful requests, by request: claim,
//	                                                       renew, release, read or nominate
//	incumbent_leader_election_failed_requests_total        failed requests, by request (also watch) and kind, see
//	                                                       leaderelection.Request; kind="conflict" is a lost race, not a
//	                                                       fault
//
// # client-go's own metric
//
// client-go has one metrics provider for the whole process, and the first caller sets
// it. With controller-runtime, the metric is leader_election_master_status. It keeps
// working, because an Elector uses client-go's elector. It is set to 0 when a term has
// ended. That metric reports who holds the Lease, and the Lease is held until the
// callbacks have returned. is_leader reports who leads.
//
// # Alerts
//
//	sum by (lease_namespace, lease_name) (incumbent_leader_election_is_leader) < 1      there is no leader
//	sum by (lease_namespace, lease_name) (incumbent_leader_election_is_leader) > 1      two leaders, or two scrapes at different times
//	increase(incumbent_leader_election_terms_total{previous=~"expired|own"}[1h]) > 0    a leader stopped without a release
//	incumbent_leader_election_last_contact_seconds > 60                                 a replica cannot reach the API server
//	increase(incumbent_leader_election_overruns_total[1h]) > 0                          raise StopTimeout, or return faster
//
// Prometheus never scrapes what a process counts just before it exits. This affects
// terms_ended_total and overruns_total of programs that exit after a lost term, as the
// programs of package manager do. The next leader counts the same event as a term with
// previous="expired". The rules in hack/manifests sum over all Pods of a Lease.
package metrics
