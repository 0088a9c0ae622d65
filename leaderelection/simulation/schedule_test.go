package simulation

import (
	"cmp"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

const (
	candidates = 3
	length     = 10 * time.Minute
)

// A schedule is what happens to the candidates, and when.
type schedule struct {
	kind   string
	seed   uint64
	config leaderelection.Config
	stop   time.Duration // work takes up to that long to stop
	events []event

	// stubborn work sometimes takes longer than anybody waits for it: then its
	// process exits.
	stubborn time.Duration
}

// An event happens to the world at a time.
type event struct {
	at   time.Duration
	what string
	do   func(*world)
}

// A kind of schedules says what they consist of.
type kind struct {
	name      string
	what      string        // for the table
	pause     time.Duration // from one fault of a network to the next, on average
	longest   time.Duration // fault; 25 s if zero
	outages   time.Duration // from one restart or outage of the server to the next, on average
	timings   bool          // other durations than the defaults
	processes bool          // candidates are restarted, crash and step down
	operators bool          // somebody edits the Lease by hand
	rewinds   bool          // history runs backwards
	faults    []faultMaker
}

// faultMaker puts a fault into a network and says what it is.
type faultMaker struct {
	name string
	make func(*rand.Rand) func(*leaderelectiontest.Network) *leaderelectiontest.Fault
}

const worstOutages = 150 * time.Second

var kinds = []kind{
	{name: "mild", what: "a fault of a network now and then", pause: 75 * time.Second, outages: 20 * time.Minute, faults: networkFaults},
	{name: "network", what: "broken networks", pause: time.Minute, outages: worstOutages, faults: networkFaults},
	{name: "everything", what: "all faults, restarts, crashes, any timing", pause: 25 * time.Second, outages: worstOutages,
		timings: true, processes: true, faults: allFaults},
	{name: "operators", what: "and people who edit the Lease", pause: 25 * time.Second, outages: worstOutages,
		timings: true, processes: true, operators: true, faults: allFaults},
	{name: "rewinds", what: "and restored backups", pause: 25 * time.Second, outages: worstOutages,
		processes: true, rewinds: true, faults: allFaults},
}

func (k kind) schedule(seed uint64) *schedule {
	rng := rand.New(rand.NewPCG(seed, uint64(len(k.name))))
	s := &schedule{kind: k.name, seed: seed, config: defaults()}
	if k.timings {
		s.config = timing(rng)
	}
	if rng.IntN(2) == 0 {
		s.stop = s.config.Margin() * 2 / 3
	}
	if k.timings && rng.IntN(3) == 0 {
		s.stubborn = 2 * s.config.LeaseDuration
		s.config.StopTimeout = []time.Duration{0, time.Second, 20 * time.Second}[rng.IntN(3)]
	}
	for i := range candidates {
		s.harm(rng, k, i)
		if k.processes {
			s.processes(rng, i)
		}
	}
	s.server(rng, k)
	if k.operators {
		s.operators(rng)
	}
	if k.rewinds {
		s.rewinds(rng)
	}
	slices.SortStableFunc(s.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return s
}

func defaults() leaderelection.Config {
	return leaderelection.Config{
		Enabled: true, LeaseName: "app", LeaseNamespace: "default", ReleaseOnCancel: true,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
	}
}

func timing(rng *rand.Rand) leaderelection.Config {
	config := defaults()
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

func (s *schedule) add(at time.Duration, what string, do func(*world)) {
	s.events = append(s.events, event{at, what, do})
}

// times returns moments that are mean apart on average.
func times(rng *rand.Rand, mean time.Duration) []time.Duration {
	var moments []time.Duration
	for at := time.Duration(0); ; {
		at += time.Duration(rng.ExpFloat64() * float64(mean))
		if at >= length {
			return moments
		}
		moments = append(moments, at.Truncate(time.Millisecond))
	}
}

func between(rng *rand.Rand, low, high time.Duration) time.Duration {
	return (low + time.Duration(rng.Int64N(int64(high-low)))).Truncate(time.Millisecond)
}

// harm puts faults into one candidate's network.
func (s *schedule) harm(rng *rand.Rand, k kind, who int) {
	for _, at := range times(rng, k.pause) {
		maker := k.faults[rng.IntN(len(k.faults))]
		inject := maker.make(rng)
		for_ := between(rng, 500*time.Millisecond, cmp.Or(k.longest, 25*time.Second))
		s.add(at, maker.name+" for "+for_.String(), func(w *world) { w.inject(who, for_, inject) })
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

// processes restarts one candidate, crashes it and makes it step down.
func (s *schedule) processes(rng *rand.Rand, who int) {
	for _, at := range times(rng, 60*time.Second) {
		pause := between(rng, 0, 8*time.Second)
		same := rng.IntN(3) == 0
		switch rng.IntN(4) {
		case 0:
			s.add(at, "steps down", func(w *world) { w.stepDown(who) })
		case 1:
			s.add(at, "crashes", func(w *world) { w.crash(who, pause, same) })
		default:
			s.add(at, "restarts", func(w *world) { w.restart(who, pause, same) })
		}
	}
}

// server takes the API server down.
func (s *schedule) server(rng *rand.Rand, k kind) {
	for _, at := range times(rng, k.outages) {
		switch rng.IntN(4) {
		case 0:
			s.add(at, "the server restarts", func(w *world) { w.server.Restart() })
		case 1:
			s.add(at, "the server compacts", func(w *world) { w.server.Compact() })
		default:
			mode := leaderelectiontest.Mode(rng.IntN(2))
			s.add(at, "the server is down", func(w *world) { w.server.Outage(mode) })
			s.add(at+between(rng, time.Second, 20*time.Second), "the server is up", func(w *world) { w.server.Recover() })
		}
	}
}
