package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// step is how often the referee looks.
const step = 250 * time.Millisecond

// stuck is how much real time one schedule may take.
const stuck = 3 * time.Minute

// A candidate is what takes part in the election: an Elector, or client-go's.
type candidate interface {
	Run(ctx context.Context) error
	IsLeader() bool
}

// listen looks at each request that the member sends.
func (m *member) listen() {
	m.client.Network().DelayRequests(0, leaderelectiontest.When(func(r leaderelectiontest.Request) bool {
		m.duty.sends(r)
		return false
	}))
}

// A maker makes candidates.
type maker func(*member) (candidate, error)

// A member is one process: one candidate, under a client of its own.
type member struct {
	candidate
	world    *world
	who      int
	name     string // of the client: pod and incarnation
	identity string
	client   *leaderelectiontest.Client
	duty     *duty
	cancel   context.CancelFunc
	done     chan struct{} // closed when Run has returned
	err      error         // then
	dead     bool          // it crashed: nothing it does counts; guarded by the referee
}

// clientset speaks protobuf, which takes half the time.
func (m *member) clientset() kubernetes.Interface {
	config := m.client.Config()
	config.ContentType, config.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf
	return kubernetes.NewForConfigOrDie(config)
}

// A world is one run of a schedule.
type world struct {
	*testing.T
	*schedule
	trace        *trace
	server       *leaderelectiontest.Server
	referee      *referee
	newCandidate maker
	backup       *leaderelectiontest.Snapshot
	rewound      bool // resourceVersions have run backwards
	over         bool

	mu      sync.Mutex // guards the rest
	rng     *rand.Rand
	members []*member
	current [candidates]*member // nil: being restarted
	lives   [candidates]int
	pending sync.WaitGroup // restarts under way
}

// run plays a schedule in fake time and returns what the referee saw.
func (s *schedule) run(t *testing.T, newCandidate maker) (report *referee) {
	t.Helper()
	watchdog := time.AfterFunc(stuck, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("schedule %d of %s: simulated time has stood still for %v: who is busy?", s.seed, s.kind, stuck))
	})
	defer watchdog.Stop()
	synctest.Test(t, func(t *testing.T) {
		tr := &trace{start: time.Now()}
		w := &world{
			T: t, schedule: s, trace: tr, newCandidate: newCandidate, server: leaderelectiontest.NewServer(),
			rng: rand.New(rand.NewPCG(s.seed, 1)),
		}
		w.referee = newReferee(w)
		report = w.referee
		for who := range candidates {
			w.start(who, false)
		}
		for _, e := range s.events {
			w.until(e.at)
			tr.addf("schedule", "%s", e.what)
			e.do(w)
		}
		w.until(length)
		w.referee.endFaults()
		w.heal()
		w.settle()
		w.shutDown()
		w.server.Close()
		w.checkWrites()
	})
	return report
}

// until lets time pass, and looks at every step.
func (w *world) until(at time.Duration) {
	for {
		synctest.Wait()
		w.referee.look()
		left := at - time.Since(w.trace.start)
		if left <= 0 {
			return
		}
		time.Sleep(min(left, step))
	}
}

// start makes a new process of one of the pods.
func (w *world) start(who int, sameIdentity bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return
	}
	w.lives[who]++
	m := &member{
		world: w, who: who, name: fmt.Sprintf("pod-%d.%d", who, w.lives[who]), done: make(chan struct{}),
	}
	m.identity = m.name
	if last := w.last(who); last != nil && sameIdentity {
		m.identity = last.identity
	}
	m.client = w.server.Client(m.name)
	m.duty = &duty{member: m, early: w.rng.IntN(3) == 0}
	var err error
	if m.candidate, err = w.newCandidate(m); err != nil {
		w.Fatal(err)
	}
	m.listen()
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	w.members, w.current[who] = append(w.members, m), m
	w.trace.addf(m.name, "starts as %s", m.identity)
	go func() {
		defer close(m.done)
		m.err = m.Run(ctx)
		if errors.Is(m.err, leaderelection.ErrWorkStillRunning) && w.stubborn > 0 { // it may have stopped since
			w.exit(m)
		}
		w.referee.returned(m)
	}()
}

func (w *world) last(who int) *member {
	for i := len(w.members) - 1; i >= 0; i-- {
		if name := fmt.Sprintf("pod-%d.%d", who, w.lives[who]-1); w.members[i].name == name {
			return w.members[i]
		}
	}
	return nil
}

func (w *world) live(who int) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current[who]
}

func (w *world) take(who int) *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := w.current[who]
	w.current[who] = nil
	return m
}

// inject puts a fault into a candidate's network, for a while.
func (w *world) inject(who int, duration time.Duration, put func(*leaderelectiontest.Network) *leaderelectiontest.Fault) {
	m := w.live(who)
	if m == nil {
		return
	}
	w.trace.addf(m.name, "is hit")
	fault := put(m.client.Network())
	time.AfterFunc(duration, fault.Heal)
}

// restart stops a process as SIGTERM does and starts another.
func (w *world) restart(who int, pause time.Duration, sameIdentity bool) {
	m := w.take(who)
	if m == nil {
		return
	}
	w.trace.addf(m.name, "is stopped")
	m.cancel()
	w.pending.Go(func() {
		<-m.done
		time.Sleep(pause)
		w.start(who, sameIdentity)
	})
}

// crash ends a process at once: its work is over and its network gone. What it
// has sent may still arrive.
func (w *world) crash(who int, pause time.Duration, sameIdentity bool) {
	m := w.take(who)
	if m == nil {
		return
	}
	w.trace.addf(m.name, "crashes")
	w.referee.bury(m)
	m.client.Network().Cut(leaderelectiontest.Hang)
	m.cancel()
	w.pending.Go(func() {
		time.Sleep(pause)
		w.start(who, sameIdentity)
	})
}

// exit is what a process does whose work does not stop.
func (w *world) exit(m *member) {
	w.trace.addf(m.name, "exits, for its work does not stop")
	w.referee.bury(m)
	m.client.Network().Cut(leaderelectiontest.Hang)
	m.cancel()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && w.current[m.who] == m { // else it is being restarted anyway
		w.current[m.who] = nil
		w.pending.Go(func() { w.start(m.who, false) })
	}
}

// stepDown asks a process to step down, if it can.
func (w *world) stepDown(who int) {
	m := w.live(who)
	if m == nil {
		return
	}
	w.trace.addf(m.name, "is asked to step down")
	if s, ok := m.candidate.(interface{ StepDown(context.Context) error }); ok {
		w.pending.Go(func() { _ = s.StepDown(context.Background()) })
	}
}

// heal ends all faults.
func (w *world) heal() {
	w.trace.addf("schedule", "everything heals")
	w.server.Recover()
	for who := range candidates {
		if m := w.live(who); m != nil {
			m.client.Network().Heal()
			m.listen()
		}
	}
}

// shutDown stops everybody and waits until nothing runs.
func (w *world) shutDown() {
	w.mu.Lock()
	w.over = true
	members := w.members
	w.mu.Unlock()
	w.trace.addf("schedule", "everybody is stopped")
	for _, m := range members {
		m.cancel()
	}
	for _, m := range members {
		<-m.done
	}
	w.pending.Wait()
	time.Sleep(max(w.stop, w.stubborn)) // client-go does not wait for its work
	synctest.Wait()
}
