package promcheck

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// A scenario describes the behaviour of some replicas over time, and the alerts that must
// fire. The keys of the field raises are the names of these alerts, without the prefix
// "LeaderElection". The values are the summaries of these alerts. No other alert may
// fire.
type scenario struct {
	name     string
	replicas map[string]replica
	until    time.Duration
	raises   map[string][]string
}

var steady = replica(func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 1} })

func follower(time.Duration) snapshot { return snapshot{Changes: 1} }

// during combines two replicas. At each time t with from <= t < to, the result behaves
// like the replica in the parameter inside. At all other times, the result behaves like
// the replica in the parameter outside.
func during(from, to time.Duration, inside, outside replica) replica {
	return func(at time.Duration) snapshot {
		if from <= at && at < to {
			return inside(at)
		}
		return outside(at)
	}
}

func away(time.Duration) snapshot { return snapshot{Away: true} }

func silent(time.Duration) snapshot { return snapshot{Silent: true} }

var healthy = []scenario{
	{name: "one leads, two follow", until: 40 * time.Minute, replicas: map[string]replica{"a": steady, "b": follower, "c": follower}},
	{
		name: "a process leads in two clusters, on Leases of one name", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": follower,
			"a-west": func(time.Duration) snapshot { return snapshot{pod: "a", server: "west", Leads: true, Changes: 1} },
		},
	},
	{
		name: "a process has two Electors for one Lease", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady, "a-2": func(time.Duration) snapshot { return snapshot{pod: "a", elector: "2", Changes: 1} },
		},
	},
	{
		// Each old replica is replaced by a new one. During the rollout, the leadership
		// changes once.
		name: "a rollout", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 12*time.Minute, steady, away),
			"b": during(0, 11*time.Minute, follower, away),
			"c": during(0, 10*time.Minute, follower, away),
			"d": during(0, 9*time.Minute, away, func(at time.Duration) snapshot {
				if at < 12*time.Minute {
					return snapshot{Changes: 1}
				}
				return snapshot{Leads: true, Changes: 2, Released: 1}
			}),
			"e": during(0, 10*time.Minute, away, follower),
			"f": during(0, 11*time.Minute, away, follower),
		},
	},
	{
		// Prometheus scrapes the leader just before each step-down, and the successor
		// just after the step-down. Therefore the samples show two leaders for some time.
		name: "the leader steps down three times", until: 40 * time.Minute, replicas: map[string]replica{
			"a": handsOver(0, 12*time.Minute), "b": handsOver(1, 12*time.Minute), "c": handsOver(2, 12*time.Minute),
		},
	},
	{
		name: "Prometheus scrapes nothing for four minutes", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 14*time.Minute, silent, steady),
			"b": during(10*time.Minute, 14*time.Minute, silent, follower),
			"c": during(10*time.Minute, 14*time.Minute, silent, follower),
		},
	},
	{
		name: "every replica fails to answer for a minute", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 11*time.Minute, away, steady),
			"b": during(10*time.Minute, 11*time.Minute, away, follower),
			"c": during(10*time.Minute, 11*time.Minute, away, follower),
		},
	},
	{
		// After the late renewal, Prometheus scrapes nothing for four minutes. During
		// these minutes, the sample with the late renewal remains the latest sample.
		name: "one renewal is late before a gap", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 10*time.Minute+tick, func(time.Duration) snapshot { return snapshot{Leads: true, Valid: 3, Changes: 1} },
				during(10*time.Minute, 14*time.Minute, silent, steady)),
			"b": follower,
		},
	},
	{
		name: "two renewals are late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) snapshot {
				late := at > 10*time.Minute && at <= 11*time.Minute || at > 14*time.Minute && at <= 15*time.Minute
				return snapshot{Leads: true, Valid: 11 - 8*oneIf(late), Changes: 1}
			},
			"b": follower,
		},
	},
	{
		name: "one renewal is late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 10*time.Minute+tick, func(time.Duration) snapshot { return snapshot{Leads: true, Valid: 3, Changes: 1} }, steady),
			"b": follower,
		},
	},
	{
		// Prometheus scrapes the successor just after the leader has exited.
		name: "the leader's process exits just after it was scraped", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute+tick, steady, away),
			"b": during(0, 10*time.Minute+tick, follower, func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 2, Released: 1} }),
		},
	},
	{
		name: "a short Lease", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 1, Window: 6, Valid: 5} }, "b": follower,
		},
	},
	{
		// When the process resumes, its metrics show for a few seconds that the elector
		// is stuck.
		name: "a process was suspended", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": during(10*time.Minute, 11*time.Minute, silent, during(11*time.Minute, 11*time.Minute+tick,
				func(time.Duration) snapshot { return snapshot{Changes: 1, Stuck: true} }, follower)),
		},
	},
	{
		// After 40 s, the liveness probe causes a restart of the process. One restart
		// must not raise an alert.
		name: "an elector is stuck once, and is restarted by its liveness probe", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": once(10*time.Minute, getsStuck(40*time.Second, 10*time.Minute)),
		},
	},
	{
		// The liveness probe fails for half a minute. Then the process receives the
		// signal to stop. The process does not stop, and is killed 75 s after the elector
		// got stuck.
		name: "an elector is stuck once, and is killed", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": once(10*time.Minute, getsStuck(75*time.Second, 10*time.Minute)),
		},
	},
	{
		// The elector has stopped, but its process continues with other tasks.
		name: "an elector has stopped", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": during(0, 10*time.Minute, follower, func(at time.Duration) snapshot {
				return snapshot{Changes: 1, Stopped: true, Contact: (at - 10*time.Minute).Seconds()}
			}),
		},
	},
	{
		name: "the API server is unreachable for 45 s", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": during(10*time.Minute, 10*time.Minute+45*time.Second, func(at time.Duration) snapshot {
				return snapshot{Changes: 1, Contact: (at - 10*time.Minute).Seconds()}
			}, follower),
		},
	},
}

// getsStuck returns a replica that gets stuck once in each period. The parameter stuckFor
// is the time until the kubelet restarts the replica. The restart takes ten seconds.
func getsStuck(stuckFor, period time.Duration) replica {
	return func(at time.Duration) snapshot {
		into := (at + period/2) % period
		return snapshot{Changes: 1, Stuck: into < stuckFor, Away: stuckFor <= into && into < stuckFor+10*time.Second}
	}
}

// once returns a replica that behaves like r from the time period until the
// time 2*period. At all other times, the returned replica is a follower.
func once(period time.Duration, r replica) replica { return during(period, 2*period, r, follower) }

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

const leaseText = namespace + "/" + lease

var faulty = []scenario{
	{
		name: "the leader crashes once", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, during(10*time.Minute, 11*time.Minute, away, follower)),
			"b": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 2, Expired: 1} }),
			"c": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) snapshot { return snapshot{Changes: 2} }),
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + leaseText + " stopped without releasing it"}},
	},
	{
		name: "all replicas follow", until: 20 * time.Minute, replicas: map[string]replica{"a": follower, "b": follower, "c": follower},
		raises: map[string][]string{"NoLeader": {"No leader of " + leaseText}},
	},
	{
		name: "nobody leads in one of two clusters, on Leases of one name", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "a-west": func(time.Duration) snapshot { return snapshot{pod: "a", server: "west", Changes: 1} },
		},
		raises: map[string][]string{"NoLeader": {"No leader of " + leaseText}},
	},
	{
		name: "all replicas are gone", until: 20 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, time.Hour, away, steady), "b": during(10*time.Minute, time.Hour, away, follower),
		},
		raises: map[string][]string{"NoLeader": {"No leader of " + leaseText}},
	},
	{
		name: "there never was a replica", until: 20 * time.Minute, replicas: map[string]replica{"a": away},
		raises: map[string][]string{"NoLeader": {"No leader of " + leaseText}},
	},
	{
		// Each process runs for only ten seconds in every five minutes. Therefore at most
		// one scrape reaches each run of a process.
		name: "a crash loop", until: 30 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) snapshot { return snapshot{Away: at%(5*time.Minute) >= 10*time.Second} },
			"b": func(at time.Duration) snapshot {
				return snapshot{Away: (at+2*time.Minute)%(5*time.Minute) >= 10*time.Second}
			},
		},
		raises: map[string][]string{"NoLeader": {"No leader of " + leaseText}},
	},
	{
		name: "two lead", until: 20 * time.Minute, replicas: map[string]replica{"a": steady, "b": during(10*time.Minute, time.Hour, steady, follower)},
		raises: map[string][]string{"TwoLeaders": {"2 replicas lead " + leaseText}},
	},
	{
		// The two programs differ only in the label namespace.
		name: "two programs without a Lease", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": follower,
			"x": func(time.Duration) snapshot { return snapshot{Disabled: true, Leads: true, namespace: "x"} },
			"y": func(time.Duration) snapshot { return snapshot{Disabled: true, Leads: true, namespace: "y"} },
		},
		raises: map[string][]string{"NotEnabled": {"A process in x leads without a Lease", "A process in y leads without a Lease"}},
	},
	{
		name: "an elector is stuck", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": func(at time.Duration) snapshot { return snapshot{Changes: 1, Stuck: at >= 10*time.Minute} },
		},
		raises: map[string][]string{"Stuck": {"An elector for " + leaseText + " is stuck"}},
	},
	{
		name: "an elector is stuck repeatedly, and is restarted", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": getsStuck(40*time.Second, 3*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"An elector for " + leaseText + " is stuck"}},
	},
	{
		// The elector is repeatedly stuck for 40 s. With a scrape interval of one
		// minute, Prometheus scrapes the replica in only two thirds of these cases.
		name: "an elector is stuck repeatedly, with a period unlike that of scrapes", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": getsStuck(40*time.Second, 3*time.Minute+25*time.Second),
		},
		raises: map[string][]string{"Stuck": {"An elector for " + leaseText + " is stuck"}},
	},
	{
		name: "an elector is stuck repeatedly, and is killed", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": getsStuck(70*time.Second, 4*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"An elector for " + leaseText + " is stuck"}},
	},
	{
		// Two replicas get stuck repeatedly: one every eight minutes, and the other every
		// nine minutes.
		name: "one elector after the other is stuck", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": getsStuck(70*time.Second, 8*time.Minute), "c": getsStuck(70*time.Second, 9*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"An elector for " + leaseText + " is stuck"}},
	},
	{
		// The leader renews the Lease only every 11 s. In the last seconds before each
		// renewal, less than half of the trust window is left. The scrape
		// intervals are no multiples of 11 s. Therefore successive scrapes see different
		// times between two renewals.
		name: "renewals are late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) snapshot {
				return snapshot{Leads: true, Changes: 1, Valid: renewsLate(at)}
			}, "b": follower,
		},
		raises: map[string][]string{"RenewalsNearDeadline": {"The leader of " + leaseText + " renews late"}},
	},
	{
		// Each replica leads for two minutes, and renews the Lease only every 11 s.
		name: "renewals of every leader are late", until: time.Hour, replicas: map[string]replica{
			"a": lateInTurn(0), "b": lateInTurn(1), "c": lateInTurn(2),
		},
		raises: map[string][]string{
			"RenewalsNearDeadline": {"The leader of " + leaseText + " renews late"},
			"ChangesOften":         {"The leader of " + leaseText + " changes often"},
		},
	},
	{
		// Each leader fails to renew the Lease after nine minutes. Its process exits, so
		// the values of its counters are lost.
		name: "leaders lose their terms, and exit", until: 80 * time.Minute, replicas: map[string]replica{
			"a": lostInTurn(0), "b": lostInTurn(1), "c": lostInTurn(2), "d": lostInTurn(3),
		},
		raises: map[string][]string{
			"NotReleased":  {"A leader of " + leaseText + " stopped without releasing it"},
			"RenewalsFail": {"Leaders of " + leaseText + " fail to renew it"},
			"ChangesOften": {"The leader of " + leaseText + " changes often"},
		},
	},
	{
		name: "one replica loses its terms, and continues", until: time.Hour, replicas: map[string]replica{
			"a": func(at time.Duration) snapshot {
				terms := int(at / (10 * time.Minute))
				return snapshot{Leads: true, Changes: 1, Own: terms, Failed: terms}
			},
		},
		raises: map[string][]string{
			"NotReleased":  {"A leader of " + leaseText + " stopped without releasing it"},
			"RenewalsFail": {"Leaders of " + leaseText + " fail to renew it"},
		},
	},
	{
		// If up to three terms are lost in an hour, only the alert with severity info
		// fires.
		name: "leaders lose their terms twice", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": func(at time.Duration) snapshot {
				return snapshot{Changes: 1, Expired: int(oneIf(at >= 20*time.Minute) + oneIf(at >= 40*time.Minute))}
			},
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + leaseText + " stopped without releasing it"}},
	},
	{
		name: "a handover every five minutes", until: time.Hour, replicas: map[string]replica{
			"a": handsOver(0, 5*time.Minute), "b": handsOver(1, 5*time.Minute), "c": handsOver(2, 5*time.Minute),
		},
		raises: map[string][]string{"ChangesOften": {"The leader of " + leaseText + " changes often"}},
	},
	{
		name: "a replica is cut off", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": func(at time.Duration) snapshot {
				return snapshot{Changes: 1, Contact: max(0, at-10*time.Minute).Seconds()}
			},
		},
		raises: map[string][]string{"NoContact": {"A replica gets no answers about " + leaseText}},
	},
	{
		// The trust window is 6 s, so valid_seconds never exceeds 6.
		name: "renewals of a short Lease are late", until: 20 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) snapshot {
				return snapshot{Leads: true, Changes: 1, Window: 6, Valid: 6 - (at % (5 * time.Second)).Seconds() - 3.5*oneIf(at > 5*time.Minute)}
			}, "b": follower,
		},
		raises: map[string][]string{"RenewalsNearDeadline": {"The leader of " + leaseText + " renews late"}},
	},
	{
		// The process of the first leader continues to run while another replica leads.
		name: "callbacks do not return", until: 20 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, func(at time.Duration) snapshot {
				return snapshot{Changes: 2, Overruns: 1, Stuck: at < 11*time.Minute}
			}),
			"b": during(0, 10*time.Minute, follower, func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 2, Expired: 1} }),
		},
		raises: map[string][]string{
			"WorkDoesNotStop": {"Callbacks for " + leaseText + " did not return in time"},
			"NotReleased":     {"A leader of " + leaseText + " stopped without releasing it"},
		},
	},
	{
		// The process exits, as in a rollout, before Prometheus scrapes the counter of
		// overruns.
		name: "callbacks do not return, and the process exits", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, away),
			"b": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) snapshot { return snapshot{Leads: true, Changes: 2, Expired: 1} }),
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + leaseText + " stopped without releasing it"}},
	},
}

// handsOver returns the replica with the given index in a group of three replicas. The
// three replicas lead in turn, and replica 0 leads first. Each term has the given length
// and ends with a release.
func handsOver(index int, length time.Duration) replica {
	return func(at time.Duration) snapshot {
		turns := int((at - time.Second) / length)
		return snapshot{Leads: turns%3 == index, Changes: 1 + turns, Released: (turns + 3 - index) / 3}
	}
}

// renewsLate returns the metric valid_seconds of a leader that renews the Lease only
// every 11 s. The value falls from 12 to 1, and starts again at 12 after each renewal.
func renewsLate(at time.Duration) float64 { return 12 - (at % (11 * time.Second)).Seconds() }

func lateInTurn(index int) replica {
	turn := handsOver(index, 2*time.Minute)
	return func(at time.Duration) snapshot {
		l := turn(at)
		if l.Leads {
			l.Valid = renewsLate(at)
		}
		return l
	}
}

// lostInTurn returns the replica with the given index in a group of four replicas that
// lead in turn. At the end of its turn, the leader loses its term and its process exits.
// For 20 s there is no leader. Then the next replica leads, and the former leader runs as
// a new process that follows.
func lostInTurn(index int) replica {
	const each, leaderless = 9 * time.Minute, 20 * time.Second
	return func(at time.Duration) snapshot {
		turns := int(at / each)
		switch {
		case turns%4 != index: // the process counts the changes since its start
			return snapshot{Changes: (turns-index+3)%4 + 1}
		case at%each < each-leaderless:
			return snapshot{Leads: true, Changes: 4, Expired: 1}
		default:
			return snapshot{Away: true}
		}
	}
}

// scrapedTwice returns a copy of the scenario in which two jobs scrape each replica. In a
// real cluster, this happens if a PodMonitor and a ServiceMonitor select the same Pods.
func (s scenario) scrapedTwice() scenario {
	return s.scraped("scraped by two jobs", func(l *snapshot) { l.jobs = []string{"podmonitor", "servicemonitor"} })
}

// withStaticTargets returns a copy of the scenario in which the targets have only the
// labels job and instance.
func (s scenario) withStaticTargets() scenario {
	if s.raises["NotEnabled"] != nil {
		s.raises = map[string][]string{"NotEnabled": {"A process leads without a Lease"}}
	}
	return s.scraped("with static targets", func(l *snapshot) { l.static = true })
}

func (s scenario) scraped(how string, as func(*snapshot)) scenario {
	replicas := map[string]replica{}
	for name, r := range s.replicas {
		replicas[name] = func(at time.Duration) snapshot {
			l := r(at)
			as(&l)
			return l
		}
	}
	s.name, s.replicas = s.name+", "+how, replicas
	return s
}

func TestAlerts_FireExactlyInTheirScenarios(t *testing.T) {
	for _, s := range slices.Concat(healthy, faulty) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, interval := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute} {
				s.check(t, interval, 15*time.Second, time.Minute)
			}
		})
	}
}

func TestAlerts_DoNotDependOnTheScrapeConfiguration(t *testing.T) {
	for _, s := range slices.Concat(healthy, faulty) {
		for _, variant := range []scenario{s.scrapedTwice(), s.withStaticTargets()} {
			t.Run(variant.name, func(t *testing.T) {
				t.Parallel()
				variant.check(t, 30*time.Second, 30*time.Second)
			})
		}
	}
}

// check compares the alerts that fire with the alerts that the scenario expects. The
// parameter interval is the scrape interval. check repeats the comparison for each
// evaluation interval in the parameter evaluated.
func (s scenario) check(t *testing.T, interval time.Duration, evaluated ...time.Duration) {
	t.Helper()
	want := map[string][]string{}
	for name, summaries := range s.raises {
		want["LeaderElection"+name] = summaries
	}
	text := load(s.replicas, interval, s.until)
	for _, every := range evaluated {
		if diff := cmp.Diff(want, fired(t, text, every, s.until)); diff != "" {
			t.Errorf("scraped each %v, evaluated each %v: -want +fired:\n%s", interval, every, diff)
		}
	}
}

func TestScenarios_RaiseEveryAlert(t *testing.T) {
	raised := map[string]bool{}
	for _, s := range faulty {
		for name := range s.raises {
			raised["LeaderElection"+name] = true
		}
	}
	for _, rule := range alerts(t) {
		if !raised[rule.Alert] {
			t.Errorf("no scenario raises %s", rule.Alert)
		}
	}
}

// The time series in the scenarios must have the same names and labels as the metrics
// that Electors export.
func TestScenarios_ExportWhatElectorsExport(t *testing.T) {
	all := exports(t)
	for name := range (snapshot{}).samples() {
		scraped, err := parser.NewParser(parser.Options{}).ParseMetric(snapshot{}.series(name, "pod", "job"))
		if err != nil {
			t.Fatal(err)
		}
		m, found := all[scraped.Get(model.MetricNameLabel)]
		if !found {
			t.Errorf("%s is not exported", scraped)
		}
		for label, values := range m {
			if label == "elector" {
				continue // usually empty
			}
			if value := scraped.Get(label); value == "" || values != nil && !slices.Contains(values, value) {
				t.Errorf("%s: label %s must be one of %q", scraped, label, values)
			}
		}
		if has := len(m) + 4; scraped.Len() != has { // the labels of the metric without elector, the label __name__, and four labels of the target
			t.Errorf("%s has %d labels, want %d", scraped, scraped.Len(), has)
		}
	}
}
