package sharding

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// Callbacks contains the functions that you provide and a Group calls. Each of them may be
// nil. For one shard, the calls never overlap. For different shards, they may.
type Callbacks struct {
	// OnGained is called when this member has become the owner of a shard. The context ctx
	// is cancelled when the hold ends. If the shard moves to another member, this happens
	// at once, and not after DrainTimeout. OnGained may do the work itself, or start it and
	// return. HoldFromContext returns the Hold from ctx.
	OnGained func(ctx context.Context, hold Hold)
	// OnLost is called once for each OnGained, after OnGained has returned and all calls of
	// Enter have left. The shard is handed on only after OnLost has returned.
	OnLost func(hold Hold)
}

// A State describes a Group at one point in time.
type State struct {
	// Shards is the number of shards of the group.
	Shards int
	// Owned are the shards on which new work may begin in this process. Draining are the
	// shards whose work was asked to stop, and has not returned.
	Owned, Draining []int
	// Stuck are the shards whose work has ignored the end of its contexts, see
	// ErrShardStuck.
	Stuck []int
	// Unowned is the number of shards without an owner, as last observed. The shards of a
	// slab that was not observed count.
	Unowned int
	// Moving is the number of shards that are being handed over, in the whole group.
	Moving int
	// Coordinator is the identity of the coordinator. It is "" if there is none.
	Coordinator string
	// Coordinating is true while this process is the coordinator.
	Coordinating bool
	// Joined is true while this member holds its own Lease.
	Joined bool
}

// A Group divides shards among its members. This process is one member. Create it with
// New. Every method may be called from any goroutine at any time, including from callbacks.
type Group struct {
	config    Config
	callbacks Callbacks
	store     store
	log       *slog.Logger
	layout    table.Layout // the layout of Config
	process   string       // the value of table.ProcessLabel

	memberElector      *leaderelection.Elector
	coordinatorElector *leaderelection.Elector
	calls              dispatch.Calls
	tasks              dispatch.Tasks

	division atomic.Pointer[division] // what Owns and Enter read
	wake     chan struct{}            // a value makes the member look at the table again
	plan     chan struct{}            // a value makes the coordinator plan again

	mu      sync.Mutex
	running bool
	changed chan struct{} // closed and replaced at each change of the state
	table   observedTable
	member  memberState
	members observedMembers
}

// A division describes the shards that this process uses, with its holds.
type division struct {
	layout table.Layout
	names  []string
	holds  []atomic.Pointer[holdRun] // nil for shards on which no new work may begin
}

func newDivision(layout table.Layout, names []string) *division {
	return &division{layout: layout, names: names, holds: make([]atomic.Pointer[holdRun], layout.Shards)}
}

// shard returns the shard of a key, or -1.
func (v *division) shard(key string) int {
	if v.layout.Names == "" {
		return v.layout.ShardOf(key)
	}
	if shard, found := table.IndexOf(v.names, key); found {
		return shard
	}
	return -1
}

// New returns a Group. If the arguments are invalid, New returns one error that names
// every problem. If logger is nil, the Group uses slog.Default(). New copies config.
func New(config *Config, clientset kubernetes.Interface, callbacks Callbacks, logger *slog.Logger) (*Group, error) {
	if config == nil {
		return nil, errors.New("sharding: the configuration is nil: pass a *Config")
	}
	problems := config.problems()
	c := config.withDefaults()
	if config.Shards == 0 && len(config.Names) == 0 {
		problems = c.problems()
	}
	if problems != nil {
		return nil, fmt.Errorf("sharding: invalid configuration: %w", problems)
	}
	if logger == nil {
		logger = slog.Default()
	}
	g := &Group{
		config: c, callbacks: callbacks, log: logger.With("group", c.Namespace+"/"+c.Name, "identity", c.Identity),
		layout: table.NewLayout(c.Shards, c.Names), process: rand.Text()[:16],
		wake: make(chan struct{}, 1), plan: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	g.division.Store(newDivision(g.layout, c.Names))
	g.resetLocked()
	labels := func(role string) map[string]string {
		return map[string]string{table.GroupLabel: c.Name, table.RoleLabel: role}
	}
	mine := labels(table.RoleMember)
	mine[table.ProcessLabel], mine[table.GenerationLabel], mine[table.WeightLabel] = g.process, strconv.FormatInt(c.Generation, 10), strconv.Itoa(c.Weight)
	mine[table.LayoutLabel] = g.layout.Label()
	if c.Zone != "" {
		mine[table.ZoneLabel] = c.Zone
	}
	var err, errCoordinator error
	g.memberElector, err = leaderelection.New(c.election(memberName(c.Name, c.Identity)), clientset,
		leaderelection.Callbacks{OnStartedLeading: g.runTerm}, logger, leaderelection.WithLeaseLabels(mine))
	g.coordinatorElector, errCoordinator = leaderelection.New(c.election(c.Name), clientset,
		leaderelection.Callbacks{OnStartedLeading: g.coordinate}, logger, leaderelection.WithLeaseLabels(labels(table.RoleCoordinator)))
	if err := errors.Join(err, errCoordinator); err != nil {
		return nil, fmt.Errorf("sharding: invalid configuration: %w", err)
	}
	g.store = store{clientset.CoordinationV1().Leases(c.Namespace), c.Name, c.requestTimeout(), &g.calls}
	return g, nil
}

func (g *Group) resetLocked() {
	g.table = observedTable{}
	g.member = memberState{runs: map[int]*holdRun{}, writing: map[int]bool{}}
	g.members = observedMembers{}
}

// Run takes part in the group until ctx is done. It then hands over its shards, waits until
// all work has returned, and releases this member's Lease. Errors of the API server do not
// end Run. Run returns ErrAlreadyRunning if the Group is already running. It returns
// leaderelection.ErrWorkStillRunning if work did not stop in time: exit the process. It
// returns leaderelection.ErrIdentityInUse if another process uses the same identity.
func (g *Group) Run(ctx context.Context) error {
	g.mu.Lock()
	if g.running {
		g.mu.Unlock()
		return ErrAlreadyRunning
	}
	g.resetLocked()
	g.running = true
	g.mu.Unlock()
	loops, stopLoops := context.WithCancel(context.WithoutCancel(ctx))
	memberCtx, stopMember := context.WithCancel(loops)
	coordinatorCtx, stopCoordinator := context.WithCancel(loops)
	defer func() {
		stopLoops()
		stopMember()
		stopCoordinator()
		g.tasks.Wait()
		g.mu.Lock()
		g.running = false
		g.signalLocked()
		g.mu.Unlock()
	}()
	ended := make(chan error, 2)
	memberDone, coordinatorDone := make(chan struct{}), make(chan struct{})
	g.tasks.Run(func() { g.followTable(loops) })
	g.tasks.Run(func() { g.followMembers(loops) })
	g.tasks.Run(func() { g.follow(loops) })
	g.tasks.Run(func() {
		defer close(memberDone)
		ended <- g.memberElector.Run(memberCtx)
	})
	g.tasks.Run(func() {
		defer close(coordinatorDone)
		ended <- g.coordinatorElector.Run(coordinatorCtx)
	})
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		g.leave(loops)
	}
	stopCoordinator()
	<-coordinatorDone
	stopMember()
	<-memberDone
	for range 2 {
		select {
		case e := <-ended:
			err = errors.Join(err, e)
		default:
		}
	}
	return err
}

// Shards returns the number of shards of the group. It may differ from Config.Shards, see
// there.
func (g *Group) Shards() int { return g.division.Load().layout.Shards }

// Shard returns the shard of a key. If the shards have names, the key is the name, and
// Shard returns -1 if there is no such shard.
func (g *Group) Shard(key string) int { return g.division.Load().shard(key) }

// Owns reports whether this process may begin work on the key now. Owns takes no lock and
// allocates no memory. If the process was frozen, Owns returns false at once after the
// process has resumed, if its Lease has expired.
func (g *Group) Owns(key string) bool {
	v := g.division.Load()
	shard := v.shard(key)
	if shard < 0 {
		return false
	}
	h := v.holds[shard].Load()
	return h != nil && h.trusted()
}

// Enter begins work on the key. If ok is false, this process must not work on the key, and
// the other results are nil. Otherwise, the work must use the returned context, and must
// call leave when it has ended. Further calls of leave have no effect. The shard is not
// handed to another member before that.
func (g *Group) Enter(ctx context.Context, key string) (work context.Context, leave func(), ok bool) {
	v := g.division.Load()
	shard := v.shard(key)
	if shard < 0 {
		return nil, nil, false
	}
	h := v.holds[shard].Load()
	if h == nil || !h.enter() {
		return nil, nil, false
	}
	e := &entry{Context: ctx, hold: h}
	return e, e.leave, true
}

// State returns the current state of the Group.
func (g *Group) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stateLocked()
}

// Changes returns an iterator over the states of the Group. The iterator yields the current
// state first, and then a new state after each change. It ends when ctx is done. If several
// changes happen while the caller handles a state, the iterator yields only the newest
// state.
func (g *Group) Changes(ctx context.Context) iter.Seq[State] {
	return func(yield func(State) bool) {
		for {
			g.mu.Lock()
			state, changed := g.stateLocked(), g.changed
			g.mu.Unlock()
			if !yield(state) || clock.Sleep(ctx, changed, clock.Forever) != nil && ctx.Err() != nil {
				return
			}
		}
	}
}

func (g *Group) stateLocked() State {
	v, electorState := g.division.Load(), g.coordinatorElector.State()
	s := State{Shards: v.layout.Shards, Coordinator: electorState.Leader, Coordinating: electorState.Leading, Joined: !g.member.term.IsZero()}
	for shard := range v.layout.Shards {
		h := g.member.runs[shard]
		switch {
		case h == nil || h.returned():
		case !h.closing():
			s.Owned = append(s.Owned, shard)
		default:
			s.Draining = append(s.Draining, shard)
			if g.isStuck(h) {
				s.Stuck = append(s.Stuck, shard)
			}
		}
	}
	s.Unowned = v.layout.Shards
	for _, o := range g.table.slabs {
		if o.slab == nil {
			continue
		}
		for _, e := range o.slab.Entries {
			if !e.Owner.IsZero() {
				s.Unowned--
			}
			if !e.Next.IsZero() {
				s.Moving++
			}
		}
	}
	return s
}

func (g *Group) signalLocked() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// poke puts a value into a channel with one place.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// requestTimeout returns how long a request for the table may take. pollInterval returns
// the time without an event after which the table is read.
func (c Config) requestTimeout() time.Duration { return max(time.Second, c.RetryPeriod) }
func (c Config) pollInterval() time.Duration   { return 3 * c.RetryPeriod }

// retryDelay returns the pause after a failed write of the table.
func (c Config) retryDelay() time.Duration { return c.RetryPeriod / 8 }

// retryJitter returns a random duration between d/2 and d.
func retryJitter(d time.Duration) time.Duration { return d/2 + mathrand.N(d/2+1) }

// waitsFor returns the longest duration that a Lease may prolong a wait to.
func waitsFor(c Config, s lease.State) time.Duration {
	if s.Lease == nil {
		return c.LeaseDuration
	}
	return max(c.LeaseDuration, lease.Duration(s.Lease, c.LeaseDuration))
}
