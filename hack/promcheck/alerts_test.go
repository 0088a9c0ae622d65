package promcheck

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// A scene is what happens to some replicas, and which alerts it raises: by name
// (without LeaderElection) what their summaries say. All others must be silent.
type scene struct {
	name     string
	replicas map[string]replica
	until    time.Duration
	raises   map[string][]string
}

var steady = replica(func(time.Duration) look { return look{Leads: true, Changes: 1} })

func follower(time.Duration) look { return look{Changes: 1} }

// during gives one look within a span, and another one else.
func during(from, to time.Duration, inside, outside replica) replica {
	return func(at time.Duration) look {
		if from <= at && at < to {
			return inside(at)
		}
		return outside(at)
	}
}

func away(time.Duration) look { return look{Away: true} }

func silent(time.Duration) look { return look{Silent: true} }

var healthy = []scene{
	{name: "one leads, two follow", until: 40 * time.Minute, replicas: map[string]replica{"a": steady, "b": follower, "c": follower}},
	{
		// Each replica is replaced, and the leader hands over once.
		name: "a rolling update", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 12*time.Minute, steady, away),
			"b": during(0, 11*time.Minute, follower, away),
			"c": during(0, 10*time.Minute, follower, away),
			"d": during(0, 9*time.Minute, away, func(at time.Duration) look {
				if at < 12*time.Minute {
					return look{Changes: 1}
				}
				return look{Leads: true, Changes: 2, Released: 1}
			}),
			"e": during(0, 10*time.Minute, away, follower),
			"f": during(0, 11*time.Minute, away, follower),
		},
	},
	{
		// Just after it was scraped, and just before its successor is.
		name: "the leader steps down, three times", until: 40 * time.Minute, replicas: map[string]replica{
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
		// One sample, and then none for a while, so that it stays the last one.
		name: "one renewal is late before a gap", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 10*time.Minute+tick, func(time.Duration) look { return look{Leads: true, Valid: 3, Changes: 1} },
				during(10*time.Minute, 14*time.Minute, silent, steady)),
			"b": follower,
		},
	},
	{
		name: "two renewals are late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) look {
				late := at > 10*time.Minute && at <= 11*time.Minute || at > 14*time.Minute && at <= 15*time.Minute
				return look{Leads: true, Valid: 11 - 8*oneIf(late), Changes: 1}
			},
			"b": follower,
		},
	},
	{
		name: "one renewal is late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, 10*time.Minute+tick, func(time.Duration) look { return look{Leads: true, Valid: 3, Changes: 1} }, steady),
			"b": follower,
		},
	},
	{
		// Just before its successor is.
		name: "the leader's process exits just after it was scraped", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute+tick, steady, away),
			"b": during(0, 10*time.Minute+tick, follower, func(time.Duration) look { return look{Leads: true, Changes: 2, Released: 1} }),
		},
	},
	{
		name: "a short Lease", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(time.Duration) look { return look{Leads: true, Changes: 1, Window: 6, Valid: 5} }, "b": follower,
		},
	},
	{
		// For the moment in which it wakes it is late with everything.
		name: "a process was frozen", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": during(10*time.Minute, 11*time.Minute, silent, during(11*time.Minute, 11*time.Minute+tick,
				func(time.Duration) look { return look{Changes: 1, Stuck: true} }, follower)),
		},
	},
	{
		// That is what the liveness probe is for: nobody need come.
		name: "an elector stands still, once, and is restarted by its liveness probe", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": once(10*time.Minute, sticks(40*time.Second, 10*time.Minute)),
		},
	},
	{
		// The probe takes half a minute, and the grace period is used up.
		name: "an elector stands still, once, and is killed", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": once(10*time.Minute, sticks(75*time.Second, 10*time.Minute)),
		},
	},
	{
		// Its process lives on, for other work.
		name: "an elector was stopped for good", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": during(0, 10*time.Minute, follower, func(at time.Duration) look {
				return look{Changes: 1, Stopped: true, Contact: (at - 10*time.Minute).Seconds()}
			}),
		},
	},
	{
		name: "the API server is away for 45 s", until: 40 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": during(10*time.Minute, 10*time.Minute+45*time.Second, func(at time.Duration) look {
				return look{Changes: 1, Contact: (at - 10*time.Minute).Seconds()}
			}, follower),
		},
	},
}

// sticks stands still for so long every now and then, until the kubelet puts a new
// process in its place, after ten seconds.
func sticks(long, every time.Duration) replica {
	return func(at time.Duration) look {
		into := (at + every/2) % every
		return look{Changes: 1, Stuck: into < long, Away: long <= into && into < long+10*time.Second}
	}
}

// once is the first of what happens again and again.
func once(every time.Duration, r replica) replica { return during(every, 2*every, r, follower) }

func oneIf(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

const ours = namespace + "/" + lease

var troubled = []scene{
	{
		name: "the leader crashes, once", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, during(10*time.Minute, 11*time.Minute, away, follower)),
			"b": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) look { return look{Leads: true, Changes: 2, Expired: 1} }),
			"c": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) look { return look{Changes: 2} }),
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + ours + " left without releasing it"}},
	},
	{
		name: "all follow", until: 20 * time.Minute, replicas: map[string]replica{"a": follower, "b": follower, "c": follower},
		raises: map[string][]string{"NoLeader": {"Nobody leads " + ours}},
	},
	{
		name: "all are gone", until: 20 * time.Minute, replicas: map[string]replica{
			"a": during(10*time.Minute, time.Hour, away, steady), "b": during(10*time.Minute, time.Hour, away, follower),
		},
		raises: map[string][]string{"NoLeader": {"Nobody leads " + ours}},
	},
	{
		name: "there never was one", until: 20 * time.Minute, replicas: map[string]replica{"a": away},
		raises: map[string][]string{"NoLeader": {"Nobody leads " + ours}},
	},
	{
		// Ten seconds up, then five minutes of waiting: scraped while up, or not.
		name: "a crash loop", until: 30 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) look { return look{Away: at%(5*time.Minute) >= 10*time.Second} },
			"b": func(at time.Duration) look { return look{Away: (at+2*time.Minute)%(5*time.Minute) >= 10*time.Second} },
		},
		raises: map[string][]string{"NoLeader": {"Nobody leads " + ours}},
	},
	{
		name: "two lead", until: 20 * time.Minute, replicas: map[string]replica{"a": steady, "b": during(10*time.Minute, time.Hour, steady, follower)},
		raises: map[string][]string{"TwoLeaders": {"2 replicas lead " + ours}},
	},
	{
		// Of different programs: nothing but their namespaces tells them apart.
		name: "two programs without a Lease", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": follower,
			"x": func(time.Duration) look { return look{Disabled: true, Leads: true, namespace: "x"} },
			"y": func(time.Duration) look { return look{Disabled: true, Leads: true, namespace: "y"} },
		},
		raises: map[string][]string{"NotEnabled": {"A process in x leads without a Lease", "A process in y leads without a Lease"}},
	},
	{
		name: "an elector stands still", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": func(at time.Duration) look { return look{Changes: 1, Stuck: at >= 10*time.Minute} },
		},
		raises: map[string][]string{"Stuck": {"The election for " + ours + " stands still"}},
	},
	{
		name: "an elector stands still, again and again, and is restarted", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": sticks(40*time.Second, 3*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"The election for " + ours + " stands still"}},
	},
	{
		// Out of step with every scrape: one each minute misses a third of these.
		name: "an elector stands still, and no scrape keeps step with it", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": sticks(40*time.Second, 3*time.Minute+25*time.Second),
		},
		raises: map[string][]string{"Stuck": {"The election for " + ours + " stands still"}},
	},
	{
		name: "an elector stands still, again and again, and is killed", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": sticks(70*time.Second, 4*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"The election for " + ours + " stands still"}},
	},
	{
		// Each replica once: that is no accident of one process.
		name: "one elector after the other stands still", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": sticks(70*time.Second, 8*time.Minute), "c": sticks(70*time.Second, 9*time.Minute),
		},
		raises: map[string][]string{"Stuck": {"The election for " + ours + " stands still"}},
	},
	{
		// Every third renewal or so is late, at moments that no scrape keeps step with.
		name: "renewals are late", until: 40 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) look {
				return look{Leads: true, Changes: 1, Valid: renewsLate(at)}
			}, "b": follower,
		},
		raises: map[string][]string{"RenewalsNearDeadline": {"The leader of " + ours + " renews late"}},
	},
	{
		// No replica leads for long, each is late once or twice, and hands over.
		name: "renewals are late, whoever leads", until: time.Hour, replicas: map[string]replica{
			"a": lateInTurn(0), "b": lateInTurn(1), "c": lateInTurn(2),
		},
		raises: map[string][]string{
			"RenewalsNearDeadline": {"The leader of " + ours + " renews late"},
			"ChangesOften":         {"The leader of " + ours + " changes often"},
		},
	},
	{
		// Whoever leads cannot renew after nine minutes, and its process exits with all it
		// has counted.
		name: "leaders are lost, and exit", until: 80 * time.Minute, replicas: map[string]replica{
			"a": lostInTurn(0), "b": lostInTurn(1), "c": lostInTurn(2), "d": lostInTurn(3),
		},
		raises: map[string][]string{
			"NotReleased":  {"A leader of " + ours + " left without releasing it"},
			"RenewalsFail": {ours + " loses its leaders"},
			"ChangesOften": {"The leader of " + ours + " changes often"},
		},
	},
	{
		name: "one replica loses its terms, and lives on", until: time.Hour, replicas: map[string]replica{
			"a": func(at time.Duration) look {
				terms := int(at / (10 * time.Minute))
				return look{Leads: true, Changes: 1, Own: terms, Failed: terms}
			},
		},
		raises: map[string][]string{
			"NotReleased":  {"A leader of " + ours + " left without releasing it"},
			"RenewalsFail": {ours + " loses its leaders"},
		},
	},
	{
		// Three are what one may lose in a bad hour: they are told of, and nobody is called.
		name: "leaders are lost, twice", until: 60 * time.Minute, replicas: map[string]replica{
			"a": steady,
			"b": func(at time.Duration) look {
				return look{Changes: 1, Expired: int(oneIf(at >= 20*time.Minute) + oneIf(at >= 40*time.Minute))}
			},
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + ours + " left without releasing it"}},
	},
	{
		name: "leaders hand over every five minutes", until: time.Hour, replicas: map[string]replica{
			"a": handsOver(0, 5*time.Minute), "b": handsOver(1, 5*time.Minute), "c": handsOver(2, 5*time.Minute),
		},
		raises: map[string][]string{"ChangesOften": {"The leader of " + ours + " changes often"}},
	},
	{
		name: "a replica is cut off", until: 20 * time.Minute, replicas: map[string]replica{
			"a": steady, "b": func(at time.Duration) look { return look{Changes: 1, Contact: max(0, at-10*time.Minute).Seconds()} },
		},
		raises: map[string][]string{"NoContact": {"A replica hears nothing of " + ours}},
	},
	{
		// Its window is 6 s: it is never certain of more.
		name: "a short Lease is late", until: 20 * time.Minute, replicas: map[string]replica{
			"a": func(at time.Duration) look {
				return look{Leads: true, Changes: 1, Window: 6, Valid: 6 - (at % (5 * time.Second)).Seconds() - 3.5*oneIf(at > 5*time.Minute)}
			}, "b": follower,
		},
		raises: map[string][]string{"RenewalsNearDeadline": {"The leader of " + ours + " renews late"}},
	},
	{
		// The first process lives on with its work, another one leads.
		name: "work does not stop", until: 20 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, func(at time.Duration) look {
				return look{Changes: 2, Overruns: 1, Stuck: at < 11*time.Minute}
			}),
			"b": during(0, 10*time.Minute, follower, func(time.Duration) look { return look{Leads: true, Changes: 2, Expired: 1} }),
		},
		raises: map[string][]string{
			"WorkDoesNotStop": {"Work of " + ours + " has not stopped in time"},
			"NotReleased":     {"A leader of " + ours + " left without releasing it"},
		},
	},
	{
		// As in an update of the Deployment: nobody ever scrapes that it has overrun.
		name: "work does not stop, and its process exits", until: 40 * time.Minute, replicas: map[string]replica{
			"a": during(0, 10*time.Minute, steady, away),
			"b": during(0, 10*time.Minute+20*time.Second, follower, func(time.Duration) look { return look{Leads: true, Changes: 2, Expired: 1} }),
		},
		raises: map[string][]string{"NotReleased": {"A leader of " + ours + " left without releasing it"}},
	},
}

// handsOver leads in turn with two others, and always releases.
func handsOver(who int, each time.Duration) replica {
	return func(at time.Duration) look {
		turns := int((at - time.Second) / each)
		return look{Leads: turns%3 == who, Changes: 1 + turns, Released: (turns + 3 - who) / 3}
	}
}

// renewsLate has from 12 s down to 1 s left.
func renewsLate(at time.Duration) float64 { return 12 - (at % (11 * time.Second)).Seconds() }

func lateInTurn(who int) replica {
	turn := handsOver(who, 2*time.Minute)
	return func(at time.Duration) look {
		l := turn(at)
		if l.Leads {
			l.Valid = renewsLate(at)
		}
		return l
	}
}

// lostInTurn leads in turn with three others, cannot renew, is away for twenty
// seconds while nobody leads, and follows as a new process.
func lostInTurn(who int) replica {
	const each, vacant = 9 * time.Minute, 20 * time.Second
	return func(at time.Duration) look {
		turns := int(at / each)
		switch {
		case turns%4 != who: // changes are those since its last turn
			return look{Changes: (turns-who+3)%4 + 1}
		case at%each < each-vacant:
			return look{Leads: true, Changes: 4, Expired: 1}
		default:
			return look{Away: true}
		}
	}
}

// twice is what happens to replicas that two jobs scrape, as a PodMonitor and a
// ServiceMonitor for the same Pods do; statically is what happens to those of which
// nothing is told but their addresses.
func (s scene) twice() scene {
	return s.scraped("scraped by two jobs", func(l *look) { l.jobs = []string{"podmonitor", "servicemonitor"} })
}

func (s scene) statically() scene {
	if s.raises["NotEnabled"] != nil {
		s.raises = map[string][]string{"NotEnabled": {"A process leads without a Lease"}}
	}
	return s.scraped("known by their addresses", func(l *look) { l.static = true })
}

func (s scene) scraped(how string, as func(*look)) scene {
	replicas := map[string]replica{}
	for name, r := range s.replicas {
		replicas[name] = func(at time.Duration) look {
			l := r(at)
			as(&l)
			return l
		}
	}
	s.name, s.replicas = s.name+", "+how, replicas
	return s
}

func TestAlerts_FireWhenTheyMustAndNeverElse(t *testing.T) {
	for _, s := range slices.Concat(healthy, troubled) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			for _, interval := range []time.Duration{15 * time.Second, 30 * time.Second, time.Minute} {
				s.check(t, interval, 15*time.Second, time.Minute)
			}
		})
	}
}

func TestAlerts_DoNotDependOnWhoScrapes(t *testing.T) {
	for _, s := range slices.Concat(healthy, troubled) {
		for _, variant := range []scene{s.twice(), s.statically()} {
			t.Run(variant.name, func(t *testing.T) {
				t.Parallel()
				variant.check(t, 30*time.Second, 30*time.Second)
			})
		}
	}
}

// check has the alerts evaluated in that scene, at each of these intervals.
func (s scene) check(t *testing.T, interval time.Duration, evaluated ...time.Duration) {
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

// Every alert has a scene in which it fires.
func TestScenes_RaiseEveryAlert(t *testing.T) {
	raised := map[string]bool{}
	for _, s := range troubled {
		for name := range s.raises {
			raised["LeaderElection"+name] = true
		}
	}
	for _, rule := range alerts(t) {
		if !raised[rule.Alert] {
			t.Errorf("no scene raises %s", rule.Alert)
		}
	}
}

// What the scenes let Prometheus scrape is what Electors export.
func TestScenes_ExportWhatElectorsExport(t *testing.T) {
	all := exports(t)
	for name := range (look{}).samples() {
		scraped, err := parser.NewParser(parser.Options{}).ParseMetric(look{}.series(name, "pod", "job"))
		if err != nil {
			t.Fatal(err)
		}
		m, found := all[scraped.Get(model.MetricNameLabel)]
		if !found {
			t.Errorf("%s is not exported", scraped)
		}
		for label, values := range m {
			if value := scraped.Get(label); value == "" || values != nil && !slices.Contains(values, value) {
				t.Errorf("%s: label %s is one of %q", scraped, label, values)
			}
		}
		if has := len(m) + 5; scraped.Len() != has { // its name, and four labels of its target
			t.Errorf("%s has %d labels, not %d", scraped, scraped.Len(), has)
		}
	}
}
