// Package metrics shows Electors to Prometheus.
//
//	m := metrics.New()
//	registry.MustRegister(m)
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, m.Option())
//
// One [Metrics] serves any number of Electors; register it once. Electors of
// package manager are in controller-runtime's registry without further ado.
//
// # The metrics
//
// Each has the labels lease_namespace and lease_name, which are empty if the
// election is not enabled. Gauges are asked of the Elector when Prometheus asks, so
// none outlives its term, and none lags behind what IsLeader answers.
//
//	incumbent_leader_election_is_leader                    1 while this process leads, as IsLeader says
//	incumbent_leader_election_term                         the fencing token; only while leading
//	incumbent_leader_election_valid_seconds                for how long leadership is certain from now, 0 when not leading,
//	                                                       +Inf if the election is not enabled
//	incumbent_leader_election_window_seconds               for how long it is certain after a renewal, see Config.Window;
//	                                                       only if the election is enabled
//	incumbent_leader_election_enabled                      0 if it leads without a Lease
//	incumbent_leader_election_running                      1 while Run campaigns
//	incumbent_leader_election_stuck                        1 if only a new process helps, see Elector.Stuck
//	incumbent_leader_election_watching                     1 while the Lease is watched, 0 while it is polled
//	incumbent_leader_election_heir                         1 while this process is who claims a released Lease first
//	incumbent_leader_election_last_contact_seconds         how long ago the API server last told something of the Lease;
//	                                                       missing as long as it never has
//	incumbent_leader_election_leader_changes_total         how often another holder was seen, ourselves included
//	incumbent_leader_election_terms_total                  terms begun; after says what became of the last leader's claim:
//	                                                       released, expired, deleted, own or none
//	incumbent_leader_election_terms_ended_total            terms ended; reason is cancelled, stepped_down, renewal_failed,
//	                                                       overtaken, lease_deleted, history_rewound or other
//	incumbent_leader_election_overruns_total               terms whose work had not stopped in time
//	incumbent_leader_election_stop_seconds                 histogram: how long work took to stop
//	incumbent_leader_election_handover_seconds             histogram: from the last leader's last write that this process saw
//	                                                       (its release, its last renewal) to the beginning of our term, by after
//	incumbent_leader_election_request_duration_seconds     histogram: how long answers took, by request: claim, renew, release,
//	                                                       read or heir
//	incumbent_leader_election_failed_requests_total        requests that failed, by request (watch, too) and kind, see
//	                                                       leaderelection.Request; kind="conflict" is a lost race and no fault
//
// # Beside client-go's own
//
// client-go has one provider of metrics for the whole process, whoever sets it
// first: with controller-runtime it is leader_election_master_status. It goes on
// working, for client-go's elector is inside, and it is set to 0 when a term is
// over. Its value says who holds the Lease, and that is still so while work is
// stopping; is_leader says who leads.
//
// # What to alert on
//
//	sum by (lease_namespace, lease_name) (incumbent_leader_election_is_leader) < 1      nobody leads
//	sum by (lease_namespace, lease_name) (incumbent_leader_election_is_leader) > 1      scraped at different moments, or worse
//	increase(incumbent_leader_election_terms_total{after=~"expired|own"}[1h]) > 0       a leader left without a release
//	incumbent_leader_election_last_contact_seconds > 60                                 no contact, whoever leads
//	increase(incumbent_leader_election_overruns_total[1h]) > 0                          raise StopTimeout, or stop faster
//
// What a process counts just before it exits is never scraped: that goes for
// terms_ended_total and overruns_total of programs that exit after a loss, as those of
// package manager do. Its successor counts the same as a term after "expired". The
// rules in hack/manifests add up what belongs to a Lease, whichever Pod it was.
package metrics
