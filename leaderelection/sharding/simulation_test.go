package sharding

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

var (
	simSchedules = flag.Int("sim.schedules", fromEnvironment("SIM_SCHEDULES", defaultSchedules), "how many schedules of each kind to run")
	simSeed      = flag.Uint64("sim.seed", 0, "the only schedule to run (0: the first -sim.schedules)")
	simRepeat    = flag.Int("sim.repeat", 1, "how often to run each schedule")
)

func fromEnvironment(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

const (
	simMembers  = 3
	simShards   = 70 // two slabs
	simFaults   = 4 * time.Minute
	simRecovery = 90 * time.Second // how long after the last fault each shard must be served
)

// A simKind describes which faults a schedule contains.
type simKind struct {
	name                 string
	processes, operators bool
}

var simKinds = []simKind{
	{name: "network"},
	{name: "processes", processes: true},
	{name: "operators", processes: true, operators: true},
}

// A simulation is one run of a schedule. All processes share fake time.
type simulation struct {
	*testing.T
	kind    simKind
	rng     *rand.Rand
	server  *leaderelectiontest.Server
	referee *referee

	mu        sync.Mutex
	processes [simMembers]*process // nil while a process restarts
	starts    int
	all       []*process
	pending   sync.WaitGroup
}

func (s *simulation) start(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	name := fmt.Sprintf("pod-%d.%d", i, s.starts)
	slow := time.Duration(rand.IntN(2)) * 2 * time.Second
	config := Config{Shards: simShards, DrainTimeout: 5 * time.Second, Generation: int64(s.starts)}
	s.referee.note("%s starts", name)
	s.processes[i] = startProcess(s.T, s.server, s.referee, name, config, func() time.Duration { return rand.N(slow + 1) })
	s.all = append(s.all, s.processes[i])
}

func (s *simulation) take(i int) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.processes[i]
	s.processes[i] = nil
	return p
}

// restart stops a process gracefully, or kills it, and starts another one.
func (s *simulation) restart(i int, kill bool, pause time.Duration) {
	p := s.take(i)
	if p == nil {
		return
	}
	if kill {
		s.referee.crash(p.name)
		p.client.Network().Cut(leaderelectiontest.Hang)
	} else {
		s.referee.note("%s is stopped", p.name)
	}
	p.cancel()
	s.pending.Go(func() {
		if !kill {
			<-p.done
		}
		time.Sleep(pause)
		s.start(i)
	})
}

// fault injects a random fault into the network of one process.
func (s *simulation) fault(i int) {
	s.mu.Lock()
	p := s.processes[i]
	s.mu.Unlock()
	if p == nil {
		return
	}
	n, d := p.client.Network(), time.Duration(100+s.rng.IntN(8000))*time.Millisecond
	writes := leaderelectiontest.Verbs("create", "update", "patch")
	mode := leaderelectiontest.Mode(s.rng.IntN(2))
	faults := []func() *leaderelectiontest.Fault{
		func() *leaderelectiontest.Fault { return n.Cut(mode) },
		func() *leaderelectiontest.Fault { return n.DelayRequests(d) },
		func() *leaderelectiontest.Fault { return n.DelayReplies(d) },
		func() *leaderelectiontest.Fault { return n.LoseReplies(mode) },
		func() *leaderelectiontest.Fault { return n.LoseReplies(mode, writes) },
		func() *leaderelectiontest.Fault { return n.ArriveLate(2*d, writes) },
		func() *leaderelectiontest.Fault { return n.StallWatches() },
		func() *leaderelectiontest.Fault { return n.DelayWatches(d) },
		func() *leaderelectiontest.Fault { return n.Fail(http.StatusServiceUnavailable, time.Second) },
	}
	which := s.rng.IntN(len(faults))
	duration := time.Duration(500+s.rng.IntN(25000)) * time.Millisecond
	s.referee.note("%s: network fault %d, mode %v, delay %v, for %v", p.name, which, mode, d, duration)
	f := faults[which]()
	time.AfterFunc(duration, f.Heal)
}

// edit deletes or spoils a Lease of the group by hand.
func (s *simulation) edit() {
	slab := slabName("app", s.rng.IntN(2))
	i := s.rng.IntN(simMembers)
	which := s.rng.IntN(5)
	s.referee.note("edit %d of %s, pod %d", which, slab, i)
	switch which {
	case 0, 1:
		_ = s.server.Delete("default", slab)
	case 2:
		_ = s.server.Edit("default", slab, func(l *coordinationv1.Lease) { l.Annotations[table.SlabAnnotation] = "{}" })
	case 3:
		s.mu.Lock()
		p := s.processes[i]
		s.mu.Unlock()
		if p != nil {
			_ = s.server.Delete("default", memberName("app", p.name))
		}
	case 4:
		_ = s.server.Delete("default", "app")
	}
}

func (s *simulation) run() {
	for i := range simMembers {
		s.start(i)
	}
	type event struct {
		at time.Duration
		do func()
	}
	var events []event
	add := func(mean time.Duration, do func()) {
		for at := time.Duration(0); ; {
			if at += time.Duration(s.rng.ExpFloat64() * float64(mean)); at > simFaults {
				return
			}
			events = append(events, event{at, do})
		}
	}
	for i := range simMembers {
		add(30*time.Second, func() { s.fault(i) })
		if s.kind.processes {
			add(60*time.Second, func() { s.restart(i, s.rng.IntN(2) == 0, time.Duration(s.rng.IntN(8000))*time.Millisecond) })
		}
	}
	add(100*time.Second, func() {
		s.referee.note("the server is down")
		s.server.Outage(leaderelectiontest.Mode(s.rng.IntN(2)))
		time.AfterFunc(time.Duration(1+s.rng.IntN(15))*time.Second, s.server.Recover)
	})
	if s.kind.operators {
		add(30*time.Second, s.edit)
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	begin := time.Now()
	for _, e := range events {
		time.Sleep(e.at - time.Since(begin))
		e.do()
	}
	time.Sleep(simFaults - time.Since(begin))
	s.referee.note("all faults end")
	s.server.Recover()
	s.mu.Lock()
	for _, p := range s.processes {
		if p != nil {
			p.client.Network().Heal()
		}
	}
	s.mu.Unlock()
	s.pending.Wait()
	s.awaitBalance()
	s.shutDown()
}

// awaitBalance waits until each shard is served and the spread is fair.
func (s *simulation) awaitBalance() {
	deadline := time.Now().Add(simRecovery)
	for {
		time.Sleep(time.Second)
		synctest.Wait()
		s.referee.mu.Lock()
		served := len(s.referee.working)
		s.referee.mu.Unlock()
		counts := spread(s.processes[:]...)
		if served == simShards && slices.Max(counts)-slices.Min(counts) <= 1 {
			return
		}
		if time.Now().After(deadline) {
			s.Errorf("%v after the faults, %d of %d shards are served, and the members own %v", simRecovery, served, simShards, counts)
			for _, p := range s.processes {
				s.Logf("%s: %+v", p.name, p.group.State())
			}
			return
		}
	}
}

func (s *simulation) shutDown() {
	for _, p := range s.all {
		p.client.Network().Heal()
		p.cancel()
	}
	for _, p := range s.all {
		<-p.done
		if p.err != nil && !s.referee.crashed[p.name] {
			s.Errorf("Run of %s returned %v", p.name, p.err)
		}
	}
	s.server.Close()
}

// TestSimulation runs random schedules of faults in fake time. To repeat a failure:
//
//	go test ./leaderelection/sharding -run 'TestSimulation/operators' -sim.seed=17 -sim.repeat=100
func TestSimulation(t *testing.T) {
	for _, kind := range simKinds {
		t.Run(kind.name, func(t *testing.T) {
			first, last := uint64(1), uint64(*simSchedules)
			if *simSeed != 0 {
				first, last = *simSeed, *simSeed
			}
			for seed := first; seed <= last && !t.Failed(); seed++ {
				for range *simRepeat {
					runSchedule(t, kind, seed)
				}
			}
		})
	}
}

func runSchedule(t *testing.T, kind simKind, seed uint64) {
	var r *referee
	synctest.Test(t, func(t *testing.T) {
		s := &simulation{T: t, kind: kind, rng: rand.New(rand.NewPCG(seed, uint64(len(kind.name)))), server: leaderelectiontest.NewServer(), referee: newReferee()}
		r = s.referee
		s.run()
		r.report(t)
	})
	if t.Failed() {
		t.Logf("schedule %d of %s, to repeat: -run TestSimulation/%s -sim.seed=%d -sim.repeat=100", seed, kind.name, kind.name, seed)
		if os.Getenv("SIM_TRACE") != "" {
			t.Log(strings.Join(r.trace, "\n"))
		}
	}
}
