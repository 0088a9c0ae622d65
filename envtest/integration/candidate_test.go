package integration_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A candidate is one replica: a process of its own, as far as the others can
// tell, with a network of its own for the election and for its work.
type candidate struct {
	*envtest.Client
	stage   *stage
	elector *leaderelection.Elector // nil if it is client-go's
	bare    func(context.Context) error

	// electing is what the elector of ours speaks with.
	electing func() kubernetes.Interface
	// workClient is what the work writes with.
	workClient func() *envtest.Client
	// atStart is what the work does first.
	atStart func(context.Context)
	// linger is what the work does after it was told to stop, before it returns.
	linger func()

	terms   chan *reign // each term that begins
	leaders chan string // what OnNewLeader says
	mu      sync.Mutex
	current []*reign // that have not returned
	started int
	stopped int
	cancel  context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	result  error         // then: what
}

// candidate adds one of ours, which does not run yet.
func (s *stage) candidate(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	return s.withElector(c)
}

// withElector gives the candidate an elector of ours.
func (s *stage) withElector(c *candidate, options ...leaderelection.Option) *candidate {
	s.Helper()
	config, name := s.config, c.Name()
	config.Identity = name
	var err error
	c.elector, err = leaderelection.New(&config, c.electing(), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { c.onStartedLeading(ctx) },
		OnStoppedLeading: c.onStoppedLeading,
		OnNewLeader: func(identity string) {
			s.note(name, "sees leader "+identity)
			c.leaders <- identity
		},
	}, s.logs.logger(name), options...)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *stage) newCandidate(name string, options ...envtest.ClientOption) *candidate {
	c := &candidate{
		Client: s.cp.Client(name, options...), stage: s, linger: func() {}, atStart: func(context.Context) {},
		terms: make(chan *reign, 100), leaders: make(chan string, 100),
	}
	c.electing = c.Clientset
	// It has all rights, whatever the elector's may do, and the same network.
	c.workClient = sync.OnceValue(func() *envtest.Client {
		return s.cp.Client(name + "-work")
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = append(s.candidates, c)
	return c
}

// run starts to campaign.
func (c *candidate) run() *candidate {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.cancel, c.ended = cancel, ended
	run := c.bare
	if c.elector != nil {
		run = c.elector.Run
	}
	go func() {
		defer close(ended)
		c.result = run(ctx)
		c.stage.note(c.Name(), fmt.Sprintf("Run returned %v", c.result))
	}()
	return c
}

// stop cancels Run's context and returns what Run returns.
func (c *candidate) stop() error {
	c.stage.Helper()
	c.stage.note(c.Name(), "cancelled")
	c.cancel()
	await(c.stage, c.ended, c.Name()+"'s Run returns")
	return c.result
}

// lingers has the candidate's work not return, once it is told to stop, before
// the function that is returned is called.
func (c *candidate) lingers() (release func()) {
	done := make(chan struct{})
	c.linger = func() { <-done }
	release = sync.OnceFunc(func() { close(done) })
	c.stage.Cleanup(release)
	return release
}

// quit ends a candidate that the test leaves behind, however it was harmed.
func (c *candidate) quit() {
	if c.cancel != nil {
		c.cancel()
	}
	c.Network().Heal()
}

func (c *candidate) awaitEnd() {
	defer c.Close()
	if c.cancel == nil {
		return
	}
	await(c.stage, c.ended, c.Name()+"'s Run returns at the end of the test")
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	for _, r := range current {
		await(c.stage, r.returned, c.Name()+"'s work returns at the end of the test")
	}
	c.workClient().Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.elector != nil && c.started != c.stopped {
		c.stage.Errorf("%s: OnStartedLeading was called %d times, OnStoppedLeading %d times", c.Name(), c.started, c.stopped)
	}
}

func (c *candidate) onStartedLeading(ctx context.Context) {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok && c.elector != nil {
		c.stage.Errorf("%s: the work's context has no term", c.Name())
	}
	c.work(&reign{Term: term, candidate: c, ctx: ctx, returned: make(chan struct{})})
}

// work writes into the ledger until it is told to stop. It ends with what was
// under way: an answer that comes at once is awaited.
func (c *candidate) work(r *reign) {
	r.stopRecord = c.stage.referee.Start(c.Name(), r.Token)
	c.mu.Lock()
	c.started++
	if c.started-c.stopped != 1 && c.elector != nil {
		c.stage.Errorf("%s: OnStartedLeading was called while the last term had not ended", c.Name())
	}
	c.current = append(c.current, r)
	c.mu.Unlock()
	c.terms <- r
	defer close(r.returned)
	defer r.stopRecord()

	writes, cancel := context.WithCancel(context.WithoutCancel(r.ctx))
	defer cancel()
	defer context.AfterFunc(r.ctx, func() { time.AfterFunc(100*time.Millisecond, cancel) })()
	c.atStart(r.ctx)
	client := kubernetes.NewForConfigOrDie(c.Network().Wrap(c.workClient().Config()))
	ledger := ledger{client: client, namespace: c.stage.namespace}
	for r.ctx.Err() == nil {
		if r.Token != 0 {
			ledger.append(writes, c.Name(), r.Token)
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	c.stage.note(c.Name(), fmt.Sprintf("told to stop: %v", r.cause()))
	c.linger()
}

func (c *candidate) onStoppedLeading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped++
	if c.stopped > c.started && c.elector != nil {
		c.stage.Errorf("%s: OnStoppedLeading was called %d times, OnStartedLeading %d times", c.Name(), c.stopped, c.started)
	}
}

// awaitLeader waits until OnNewLeader says that name.
func (c *candidate) awaitLeader(name string) {
	c.stage.Helper()
	for next(c.stage.T, c.leaders) != name {
	}
}

// awaitRenewals waits until so many writes of the Lease were answered from now on.
func (c *candidate) awaitRenewals(n int) {
	c.stage.Helper()
	for range n {
		probe := c.Network().DelayReplies(0, leaderelectiontest.When(leaderelectiontest.Claims(c.Name())), leaderelectiontest.Once())
		probe.Await(c.stage)
		probe.Heal()
	}
}

// crash ends the candidate as a machine ends: nothing of it reaches anybody any
// more, and its work is over. What the elector does inside is of no consequence.
func (c *candidate) crash() {
	c.Network().Cut(leaderelectiontest.Hang)
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	for _, r := range current {
		r.stopRecord()
	}
	c.stage.note(c.Name(), "crashes")
}

// cut cuts all of the candidate's network.
func (c *candidate) cut() {
	c.stage.note(c.Name(), "cut off")
	c.Network().Cut(leaderelectiontest.Hang)
}

func (c *candidate) heal() {
	c.stage.note(c.Name(), "healed")
	c.Network().Heal()
}

// A reign is one term of a candidate, as its work sees it.
type reign struct {
	leaderelection.Term
	candidate  *candidate
	ctx        context.Context
	stopRecord func()        // of the referee
	returned   chan struct{} // closed when the work has stopped
}

// cause is why the term ended, once it has.
func (r *reign) cause() error { return context.Cause(r.ctx) }

// awaitTerm waits for the candidate's next term.
func (c *candidate) awaitTerm() *reign {
	c.stage.Helper()
	select {
	case r := <-c.terms:
		return r
	case <-limit():
		c.stage.Fatalf("%s did not lead", c.Name())
		return nil
	}
}

// awaitTerm waits for the next term of any of them.
func awaitTerm(candidates ...*candidate) *reign {
	s := candidates[0].stage
	s.Helper()
	merged, done := make(chan *reign), make(chan struct{})
	defer close(done)
	for _, c := range candidates {
		go func() {
			select {
			case r := <-c.terms:
				select {
				case merged <- r:
				case <-done:
					c.terms <- r // somebody else was first: this one is yet to be awaited
				}
			case <-done:
			}
		}()
	}
	select {
	case r := <-merged:
		return r
	case <-limit():
		s.Fatal("nobody led")
		return nil
	}
}

// awaitStop waits until the work was told to stop, and returns why.
func (r *reign) awaitStop() error {
	r.candidate.stage.Helper()
	await(r.candidate.stage, r.ctx.Done(), r.candidate.Name()+"'s work is told to stop")
	return r.cause()
}

// mustGoOn fails the test unless the term goes on after n more renewals.
func (r *reign) mustGoOn(renewals int) {
	s := r.candidate.stage
	s.Helper()
	r.candidate.awaitRenewals(renewals)
	if err := r.cause(); err != nil {
		s.Errorf("%s's term has ended: %v", r.candidate.Name(), err)
	}
}

// bareCandidate adds a candidate that uses client-go's LeaderElector as it is, on
// the same timing. It campaigns once: its users exit when it has stopped.
func (s *stage) bareCandidate(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	engine, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
		Lock:            leaseLock(c.Clientset(), s.namespace, name),
		LeaseDuration:   s.config.LeaseDuration,
		RenewDeadline:   s.config.RenewDeadline,
		RetryPeriod:     s.config.RetryPeriod,
		ReleaseOnCancel: s.config.ReleaseOnCancel,
		Callbacks: clientleaderelection.LeaderCallbacks{
			OnStartedLeading: c.onStartedLeading,
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		s.Fatal(err)
	}
	c.bare = func(ctx context.Context) error {
		engine.Run(logr.NewContext(ctx, logr.FromSlogHandler(s.logs.logger(name).Handler())))
		return nil
	}
	return c
}

func leaseLock(client kubernetes.Interface, namespace, identity string) resourcelock.Interface {
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: leaseName},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
	}
}
