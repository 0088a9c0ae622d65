package simulation

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

const (
	candidates = 3
	faultPhase = 10 * time.Minute
)

// A schedule contains timed events, such as faults, and the configuration of
// the candidates.
type schedule struct {
	kind     string
	seed     uint64
	config   leaderelection.Config
	stopTime time.Duration // the longest time that work takes to stop
	events   []event

	// overrun is the longest time that work takes to stop in a schedule in which
	// work may exceed the stop timeout. In all other schedules, overrun is zero.
	overrun time.Duration

	kubelets bool // true if the replicas run in pods and use proof of death
}

// An event is a change of the cluster. at is the time from the start
// of the run to the change.
type event struct {
	at          time.Duration
	description string
	do          func(*cluster)
}

// A kind describes how schedules are generated. The length of the name is part
// of the random seed.
type kind struct {
	name           string
	description    string        // the text in the table of results
	faultInterval  time.Duration // the mean time between two network faults of a candidate
	longestFault   time.Duration // the longest duration of a network fault; zero means 25 s
	outageInterval time.Duration // the mean time between two outages, restarts or compactions of the server
	timings        bool          // true if the candidates use random durations
	processes      bool          // true if processes restart, crash and step down
	operators      bool          // true if the Lease is edited manually
	rewinds        bool          // true if the server is restored from backups
	kubelets       bool          // true if the replicas use proof of death, and kubelets and people make mistakes
	faults         []faultMaker
}

// A faultMaker creates network faults of one kind with random parameters.
type faultMaker struct {
	name string
	make func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault
}

const frequentOutages = 150 * time.Second

var kinds = []kind{
	{name: "mild", description: "occasional network faults", faultInterval: 75 * time.Second, outageInterval: 20 * time.Minute, faults: networkFaults},
	{name: "network", description: "frequent network faults and outages of the server", faultInterval: time.Minute, outageInterval: frequentOutages, faults: networkFaults},
	{name: "everything", description: "all faults, restarts, crashes, random timings", faultInterval: 25 * time.Second, outageInterval: frequentOutages,
		timings: true, processes: true, faults: allFaults},
	{name: "operators", description: "everything, and manual edits of the Lease", faultInterval: 25 * time.Second, outageInterval: frequentOutages,
		timings: true, processes: true, operators: true, faults: allFaults},
	{name: "rewinds", description: "all faults, restarts, crashes, restored backups", faultInterval: 25 * time.Second, outageInterval: frequentOutages,
		processes: true, rewinds: true, faults: allFaults},
	{name: "kubelets", description: "everything, and kubelets that stop, lose containers and do not know how they ended", faultInterval: 40 * time.Second, outageInterval: frequentOutages,
		timings: true, processes: true, kubelets: true, faults: allFaults},
}

// schedule generates the schedule that a seed determines.
func (k kind) schedule(seed uint64) *schedule {
	rng := rand.New(rand.NewPCG(seed, uint64(len(k.name))))
	s := &schedule{kind: k.name, seed: seed, config: defaultTiming(), kubelets: k.kubelets}
	if k.timings {
		s.config = randomTiming(rng)
	}
	if rng.IntN(2) == 0 {
		s.stopTime = s.config.Margin() * 2 / 3
	}
	if k.timings && rng.IntN(3) == 0 {
		s.overrun = 2 * s.config.LeaseDuration
		s.config.StopTimeout = []time.Duration{0, time.Second, 20 * time.Second}[rng.IntN(3)]
	}
	for i := range candidates {
		s.addNetworkFaults(rng, k, i)
		if k.processes {
			s.addProcessFaults(rng, i)
		}
		if k.kubelets {
			s.addKubeletFaults(rng, i)
		}
	}
	s.addServerFaults(rng, k)
	if k.operators {
		s.addManualEdits(rng)
	}
	if k.rewinds {
		s.addRestores(rng)
	}
	slices.SortStableFunc(s.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return s
}

func defaultTiming() leaderelection.Config {
	return leaderelection.Config{
		Enabled: true, LeaseName: "app", LeaseNamespace: "default", ReleaseOnCancel: true,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
	}
}

// randomTiming returns a configuration with valid random durations.
func randomTiming(rng *rand.Rand) leaderelection.Config {
	config := defaultTiming()
	set := func(lease, deadline, retry time.Duration) {
		config.LeaseDuration, config.RenewDeadline, config.RetryPeriod = lease, deadline, retry
	}
	switch rng.IntN(8) {
	case 0:
		set(6*time.Second, 4*time.Second, 500*time.Millisecond)
	case 1:
		set(30*time.Second, 20*time.Second, 5*time.Second)
	case 2:
		set(4*time.Second, 2*time.Second, time.Second)
	case 3:
		set(10*time.Second, 9*time.Second, 3*time.Second)
	case 4, 5:
		lease := time.Duration(2+rng.IntN(39)) * time.Second
		deadline := between(rng, lease*4/10, lease*95/100)
		set(lease, deadline, between(rng, lease/50+100*time.Millisecond, deadline*8/10))
	}
	config.ReleaseOnCancel = rng.IntN(4) != 0
	return config
}

func (s *schedule) add(at time.Duration, what string, do func(*cluster)) {
	s.events = append(s.events, event{at, what, do})
}

// randomTimes returns random times in the fault phase. mean is
// the average distance between consecutive times.
func randomTimes(rng *rand.Rand, mean time.Duration) []time.Duration {
	var moments []time.Duration
	for at := time.Duration(0); ; {
		at += time.Duration(rng.ExpFloat64() * float64(mean))
		if at >= faultPhase {
			return moments
		}
		moments = append(moments, at.Truncate(time.Millisecond))
	}
}

// between returns a random duration in [low, high), truncated to milliseconds.
func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(rng.Int64N(int64(high-low)))).Truncate(time.Millisecond)
}

// addNetworkFaults adds faults to the network of one pod.
func (s *schedule) addNetworkFaults(rng *rand.Rand, k kind, pod int) {
	for _, at := range randomTimes(rng, k.faultInterval) {
		maker := k.faults[rng.IntN(len(k.faults))]
		inject := maker.make(rng)
		duration := between(rng, 500*time.Millisecond, cmp.Or(k.longestFault, 25*time.Second))
		s.add(at, maker.name+" for "+duration.String(), func(c *cluster) { c.inject(pod, duration, inject) })
	}
}

var networkFaults = []faultMaker{
	{"network hangs", func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.Cut(leaderelectiontest.Hang) }
	}},
	{"network refuses", func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.Cut(leaderelectiontest.Refuse) }
	}},
	{"requests are slow", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		d := between(rng, 100*time.Millisecond, 8*time.Second)
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.DelayRequests(d) }
	}},
	{"replies are slow", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		d := between(rng, 100*time.Millisecond, 10*time.Second)
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.DelayReplies(d) }
	}},
	{"replies are lost", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		mode := leaderelectiontest.Mode(rng.IntN(2))
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.LoseReplies(mode) }
	}},
}

var allFaults = append(slices.Clone(networkFaults), []faultMaker{
	{"writes arrive late", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		d := between(rng, 100*time.Millisecond, 20*time.Second)
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault {
			return n.ArriveLate(d, leaderelectiontest.Verbs("create", "update", "patch"))
		}
	}},
	{"replies to writes are lost", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		mode := leaderelectiontest.Mode(rng.IntN(2))
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault {
			return n.LoseReplies(mode, leaderelectiontest.Verbs("create", "update", "patch"))
		}
	}},
	{"reads hang", func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault {
			return n.Cut(leaderelectiontest.Hang, leaderelectiontest.Verbs("get", "list", "watch"))
		}
	}},
	{"requests fail", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		status := []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusForbidden}[rng.IntN(4)]
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.Fail(status, time.Second) }
	}},
	{"applied requests fail", func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault {
			return n.FailReplies(http.StatusGatewayTimeout)
		}
	}},
	{"watches stall", func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.StallWatches() }
	}},
	{"watches are slow", func(rng *rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault {
		d := between(rng, 100*time.Millisecond, 20*time.Second)
		return func(n *leaderelectiontest.Network) *leaderelectiontest.Fault { return n.DelayWatches(d) }
	}},
}...)

// addProcessFaults adds restarts, crashes and step-downs of one pod.
func (s *schedule) addProcessFaults(rng *rand.Rand, pod int) {
	for _, at := range randomTimes(rng, 60*time.Second) {
		pause := between(rng, 0, 8*time.Second)
		same := rng.IntN(3) == 0
		switch rng.IntN(4) {
		case 0:
			s.add(at, "steps down", func(c *cluster) { c.stepDown(pod) })
		case 1:
			s.add(at, "crashes", func(c *cluster) { c.crash(pod, pause, same) })
		default:
			s.add(at, "restarts", func(c *cluster) { c.restart(pod, pause, same) })
		}
	}
}

// addServerFaults adds outages, restarts and compactions of the API server.
func (s *schedule) addServerFaults(rng *rand.Rand, k kind) {
	for _, at := range randomTimes(rng, k.outageInterval) {
		switch rng.IntN(4) {
		case 0:
			s.add(at, "the server restarts", func(c *cluster) { c.server.Restart() })
		case 1:
			s.add(at, "the server compacts", func(c *cluster) { c.server.Compact() })
		default:
			mode := leaderelectiontest.Mode(rng.IntN(2))
			s.add(at, "the server is down", func(c *cluster) { c.server.Outage(mode) })
			s.add(at+between(rng, time.Second, 20*time.Second), "the server is up", func(c *cluster) { c.server.Recover() })
		}
	}
}

// addManualEdits adds manual edits and deletions of the Lease.
func (s *schedule) addManualEdits(rng *rand.Rand) {
	setHolder := func(holder string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &holder }
	}
	for _, at := range randomTimes(rng, 45*time.Second) {
		seconds := int32(1 + rng.IntN(30))
		switch rng.IntN(7) {
		case 0:
			s.add(at, "the Lease is deleted manually", func(c *cluster) {
				c.referee.manualEdit("deletion", func() error { return c.server.Delete(c.config.LeaseNamespace, c.config.LeaseName) })
			})
		case 1:
			s.edit(at, "another holder", setHolder("other"))
		case 2:
			s.edit(at, "no holder", setHolder(""))
		case 3:
			s.edit(at, "empty spec", func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
		case 4:
			s.edit(at, "other duration", func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &seconds })
		default:
			s.edit(at, "", func(l *coordinationv1.Lease) { l.Labels = map[string]string{"example.com/edited": at.String()} })
		}
	}
}

// edit adds one manual edit of the Lease. If name is empty, the edit does not
// excuse an overlap.
func (s *schedule) edit(at time.Duration, name string, change func(*coordinationv1.Lease)) {
	s.add(at, "the Lease is edited manually: "+name, func(c *cluster) {
		c.referee.manualEdit(name, func() error { return c.server.Edit(c.config.LeaseNamespace, c.config.LeaseName, change) })
	})
}

// addRestores adds events that back up the server, and events that restore the
// most recent backup.
func (s *schedule) addRestores(rng *rand.Rand) {
	s.add(0, "a backup is made", func(c *cluster) { c.backup = c.server.Snapshot() })
	for _, at := range randomTimes(rng, 60*time.Second) {
		if rng.IntN(3) == 0 {
			s.add(at, "the last backup is restored", func(c *cluster) {
				c.historyRewound = true
				c.referee.manualEdit("restored backup", func() error { c.server.Restore(c.backup); return nil })
			})
			continue
		}
		s.add(at, "a backup is made", func(c *cluster) { c.backup = c.server.Snapshot() })
	}
}
