// Package metrics exports Prometheus metrics of Electors.
//
//	m := metrics.New()
//	registry.MustRegister(m)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, m.Option())
//
// One [Metrics] exports the metrics of any number of Electors. Register the Metrics once.
// Do not register a Metrics if you use package manager. Package manager registers the
// metrics of its Electors in controller-runtime's registry.
//
// # Labels
//
// Each metric has these labels, which identify an Elector:
//
//	api_server                    host and path of the API server's URL, as this process uses it; empty if it is unknown
//	lease_namespace, lease_name   the Lease
//	elector                       usually empty; 2, 3 and so on if the process has several Electors for this Lease
//
// All labels except elector are empty if the election is not enabled. The label
// api_server distinguishes Leases of one name in several clusters. The replicas of an
// election usually use the same URL. If they do not, drop the label api_server when
// Prometheus scrapes them, because the alerts below compare replicas.
//
// # The metrics
//
// Each scrape reads the gauges from the Electors. Therefore is_leader always agrees with
// IsLeader, and a gauge never shows a term that has ended. The gauges of an Elector exist
// from New until Run returns nil. If Run returns an error, they remain until an Elector
// for the same Lease runs. The counters remain until [Metrics.Forget] is called. They
// continue if an Elector for the same Lease runs later.
//
//	incumbent_leader_election_is_leader                    1 while this process leads, as reported by IsLeader
//	incumbent_leader_election_term                         the fencing token, modulo 2^53, because a sample cannot
//	                                                       distinguish greater tokens; only while leading
//	incumbent_leader_election_valid_seconds                how long leadership remains certain, 0 when not leading,
//	                                                       +Inf if the election is not enabled
//	incumbent_leader_election_window_seconds               how long leadership is certain after a renewal, see
//	                                                       Config.Window; only if the election is enabled
//	incumbent_leader_election_enabled                      0 if this process leads without a Lease, else 1
//	incumbent_leader_election_running                      1 from the call of Run until Run returns
//	incumbent_leader_election_stuck                        1 if only a restart of the process helps, see Elector.Stuck
//	incumbent_leader_election_watching                     1 while the Lease is watched, 0 while it is polled
//	incumbent_leader_election_successor                    1 while this process is the successor: the follower that
//	                                                       claims a released Lease first
//	incumbent_leader_election_last_contact_seconds         time since the API server last answered about the Lease;
//	                                                       absent before the first answer
//	incumbent_leader_election_leader_changes_total         observed changes of the holder, including to this process
//	incumbent_leader_election_terms_total                  terms started; the label previous is the outcome of the
//	                                                       previous leadership: released, expired, terminated, deleted,
//	                                                       own or none
//	incumbent_leader_election_terms_ended_total            terms ended; the label reason is cancelled, stepped_down,
//	                                                       renewal_failed, overtaken, lease_deleted, history_rewound or other
//	incumbent_leader_election_overruns_total               terms whose callbacks did not return in time
//	incumbent_leader_election_stop_seconds                 histogram: time that the callbacks of a term took to return
//	incumbent_leader_election_handover_seconds             histogram: time from the previous leader's last observed write
//	                                                       (release or renewal) to the start of this process's term;
//	                                                       the label previous is released, expired, terminated, deleted or own
//	incumbent_leader_election_request_duration_seconds     histogram: duration of successful requests; the label request
//	                                                       is claim, renew, release, read or nominate
//	incumbent_leader_election_failed_requests_total        failed requests; the label request can also be watch; for the
//	                                                       label kind, see leaderelection.Request; kind="conflict" is a
//	                                                       lost race, not a fault
//
// # client-go's own metric
//
// controller-runtime exports the metric leader_election_master_status of client-go. This
// metric also shows Electors, because an Elector uses client-go's elector internally.
//
// leader_election_master_status is 1 while the process holds the Lease. is_leader is 1
// while the process leads. A process that stops leading still holds the Lease until its
// callbacks have returned. During this time, only leader_election_master_status is 1.
//
// # Alerts
//
//	sum by (api_server, lease_namespace, lease_name) (incumbent_leader_election_is_leader) < 1    there is no leader
//	sum by (api_server, lease_namespace, lease_name) (incumbent_leader_election_is_leader) > 1    two leaders, or the leader changed between two scrapes
//	increase(incumbent_leader_election_terms_total{previous=~"expired|terminated|own"}[1h]) > 0  a leader stopped without a release
//	incumbent_leader_election_last_contact_seconds > 60                                          a replica cannot reach the API server
//	increase(incumbent_leader_election_overruns_total[1h]) > 0                                   callbacks returned too late: raise StopTimeout, or stop faster
//
// If a process increases a counter just before it exits, Prometheus does not scrape the
// new value. This affects terms_ended_total and overruns_total in programs that exit
// after a loss of leadership. For example, programs that use package manager exit then.
// To find such a loss, use terms_total: the next leader counts its term with
// previous="expired". The rules in hack/manifests sum over all Pods of a Lease.
package metrics
