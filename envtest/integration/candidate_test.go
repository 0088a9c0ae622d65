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

// candidate is one replica that takes part in an election. The elector and the
// work of a candidate use the same network. No other candidate uses this
// network.
type candidate struct {
	*envtest.Client
	testCluster *testCluster
	elector     *leaderelection.Elector // nil if the candidate runs the elector of client-go
	runClientGo func(context.Context) error

	// electionClient returns the client that the Elector uses.
	electionClient func() kubernetes.Interface
	// workClient returns the client that the work uses.
	workClient func() *envtest.Client
	// atStart is called when the work starts.
	atStart func(context.Context)
	// beforeReturn is called after the work was asked to stop and before the
	// work returns.
	beforeReturn func()

	terms   chan *termRun // receives each new term
	leaders chan string   // receives the identities that OnNewLeader reports
	mu      sync.Mutex
	current []*termRun // the terms whose work has not yet returned
	started int
	stopped int
	cancel  context.CancelFunc
	ended   chan struct{} // closed when Run has returned
	result  error         // the result of Run; read it after ended is closed
}

// candidate adds a candidate with an Elector to the test cluster. The Elector
// does not run yet.
func (s *testCluster) candidate(name string, options ...envtest.ClientOption) *candidate {
	s.Helper()
	c := s.newCandidate(name, options...)
	return s.withElector(c)
}

// withElector creates the Elector of the candidate.
func (s *testCluster) withElector(c *candidate, options ...leaderelection.Option) *candidate {
	s.Helper()
	config, name := s.config, c.Name()
	config.Identity = name
	var err error
	c.elector, err = leaderelection.New(&config, c.electionClient(), leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) { c.onStartedLeading(ctx) },
		OnStoppedLeading: c.onStoppedLeading,
		OnNewLeader: func(identity string) {
			s.note(name, "OnNewLeader: "+identity)
			c.leaders <- identity
		},
	}, s.logs.logger(name), options...)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s *testCluster) newCandidate(name string, options ...envtest.ClientOption) *candidate {
	c := &candidate{
		Client: s.cp.Client(name, options...), testCluster: s, beforeReturn: func() {}, atStart: func(context.Context) {},
		terms: make(chan *termRun, 100), leaders: make(chan string, 100),
	}
	c.electionClient = c.Clientset
	// The work has all rights. The parameter options applies only to the
	// Elector.
	c.workClient = sync.OnceValue(func() *envtest.Client {
		return s.cp.Client(name + "-work")
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = append(s.candidates, c)
	return c
}

// run calls Run of the elector in a new goroutine.
func (c *candidate) run() *candidate {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.cancel, c.ended = cancel, ended
	run := c.runClientGo
	if c.elector != nil {
		run = c.elector.Run
	}
	go func() {
		defer close(ended)
		c.result = run(ctx)
		c.testCluster.note(c.Name(), fmt.Sprintf("Run returned %v", c.result))
	}()
	return c
}

// stop cancels the context of Run, waits until Run has returned, and returns
// the result of Run.
func (c *candidate) stop() error {
	c.testCluster.Helper()
	c.testCluster.note(c.Name(), "cancelled")
	c.cancel()
	await(c.testCluster, c.ended, c.Name()+"'s Run to return")
	return c.result
}

// blockReturn prevents the work of the candidate from returning until the test
// calls release.
func (c *candidate) blockReturn() (release func()) {
	done := make(chan struct{})
	c.beforeReturn = func() { <-done }
	release = sync.OnceFunc(func() { close(done) })
	c.testCluster.Cleanup(release)
	return release
}

// stopAtEnd cancels the context of Run and heals the network. The test cluster
// calls stopAtEnd at the end of the test.
func (c *candidate) stopAtEnd() {
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
	await(c.testCluster, c.ended, c.Name()+"'s Run to return at the end of the test")
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	for _, r := range current {
		await(c.testCluster, r.returned, c.Name()+"'s work to return at the end of the test")
	}
	c.workClient().Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.elector != nil && c.started != c.stopped {
		c.testCluster.Errorf("%s: OnStartedLeading was called %d times, OnStoppedLeading %d times", c.Name(), c.started, c.stopped)
	}
}

func (c *candidate) onStartedLeading(ctx context.Context) {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok && c.elector != nil {
		c.testCluster.Errorf("%s: the work's context has no term", c.Name())
	}
	c.work(&termRun{Term: term, candidate: c, ctx: ctx, returned: make(chan struct{})})
}

// work writes into the ledger until the term ends. A write in progress is
// cancelled 100 ms after the end of the term.
func (c *candidate) work(r *termRun) {
	r.stopRecord = c.testCluster.referee.Start(c.Name(), r.Token)
	c.mu.Lock()
	c.started++
	if c.started-c.stopped != 1 && c.elector != nil {
		c.testCluster.Errorf("%s: OnStartedLeading was called while the last term had not ended", c.Name())
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
	ledger := ledger{client: client, namespace: c.testCluster.namespace}
	for r.ctx.Err() == nil {
		if r.Token != 0 {
			ledger.append(writes, c.Name(), r.Token)
		}
		select {
		case <-r.ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	c.testCluster.note(c.Name(), fmt.Sprintf("asked to stop: %v", r.cause()))
	c.beforeReturn()
}

func (c *candidate) onStoppedLeading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped++
	if c.stopped > c.started && c.elector != nil {
		c.testCluster.Errorf("%s: OnStoppedLeading was called %d times, OnStartedLeading %d times", c.Name(), c.stopped, c.started)
	}
}

// awaitLeader waits until the OnNewLeader callback of the candidate receives
// the given name.
func (c *candidate) awaitLeader(name string) {
	c.testCluster.Helper()
	for next(c.testCluster.T, c.leaders) != name {
	}
}

// awaitRenewals waits until the candidate has received the replies to n more
// writes of the Lease.
func (c *candidate) awaitRenewals(n int) {
	c.testCluster.Helper()
	for range n {
		probe := c.Network().DelayReplies(0, leaderelectiontest.When(leaderelectiontest.Claims(c.Name())), leaderelectiontest.Once())
		probe.Await(c.testCluster)
		probe.Heal()
	}
}

// crash simulates the crash of a machine. The network of the candidate is cut
// permanently, and the referee records that the work of the candidate has
// stopped.
func (c *candidate) crash() {
	c.Network().Cut(leaderelectiontest.Hang)
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	for _, r := range current {
		r.stopRecord()
	}
	c.testCluster.note(c.Name(), "crashes")
}

func (c *candidate) cut() {
	c.testCluster.note(c.Name(), "cut off")
	c.Network().Cut(leaderelectiontest.Hang)
}

func (c *candidate) heal() {
	c.testCluster.note(c.Name(), "healed")
	c.Network().Heal()
}

// termRun is one term of a candidate, together with the state of its work.
type termRun struct {
	leaderelection.Term
	candidate  *candidate
	ctx        context.Context
	stopRecord func()        // records the end of the work in the referee
	returned   chan struct{} // closed when the work has returned
}

// cause returns the reason why the term ended, or nil if the term continues.
func (r *termRun) cause() error { return context.Cause(r.ctx) }

// awaitTerm waits until a new term of the candidate begins, and returns that
// term.
func (c *candidate) awaitTerm() *termRun {
	c.testCluster.Helper()
	select {
	case r := <-c.terms:
		return r
	case <-timeout():
		c.testCluster.Fatalf("%s did not lead", c.Name())
		return nil
	}
}

// awaitTerm waits until a new term of any of the candidates begins, and returns
// that term.
func awaitTerm(candidates ...*candidate) *termRun {
	s := candidates[0].testCluster
	s.Helper()
	merged, done := make(chan *termRun), make(chan struct{})
	defer close(done)
	for _, c := range candidates {
		go func() {
			select {
			case r := <-c.terms:
				select {
				case merged <- r:
				case <-done:
					c.terms <- r // keep this term for a later call of awaitTerm
				}
			case <-done:
			}
		}()
	}
	select {
	case r := <-merged:
		return r
	case <-timeout():
		s.Fatal("no candidate led")
		return nil
	}
}

// awaitStop waits until the work of the term is asked to stop, and returns the
// reason.
func (r *termRun) awaitStop() error {
	r.candidate.testCluster.Helper()
	await(r.candidate.testCluster, r.ctx.Done(), r.candidate.Name()+"'s work to be asked to stop")
	return r.cause()
}

// mustContinue fails the test if the term ends within the given number of
// renewals.
func (r *termRun) mustContinue(renewals int) {
	s := r.candidate.testCluster
	s.Helper()
	r.candidate.awaitRenewals(renewals)
	if err := r.cause(); err != nil {
		s.Errorf("%s's term has ended: %v", r.candidate.Name(), err)
	}
}

// clientGoCandidate adds a candidate that runs the LeaderElector of client-go.
// The candidate has the same durations as the Electors in this test cluster.
// After the end of its first term, the candidate does not campaign again.
func (s *testCluster) clientGoCandidate(name string, options ...envtest.ClientOption) *candidate {
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
	c.runClientGo = func(ctx context.Context) error {
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
