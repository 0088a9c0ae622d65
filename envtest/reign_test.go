package envtest_test

import (
	"context"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A reign is one term of a candidate, as its work sees it.
type reign struct {
	leaderelection.Term
	candidate *candidate
	ctx       context.Context
	shift     *envtest.Shift
	returned  chan struct{} // closed when the work has stopped
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
