package routing

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A term is what a Router does in one term of its Elector.
type term struct {
	*post
	elector  *leaderelection.Elector
	config   leaderelection.Config
	token    string          // what the annotation names it
	work     context.Context // of the Elector's work: its cause says why the term ended
	withdraw context.CancelFunc
	may      bool          // patch the Pod: it has done so
	failures int           // rounds that have failed one after the other
	done     chan struct{} // closed when no request is sent any more
}

// wrap labels the Pod in each term beside what the callbacks do.
func (r *Router) wrap(e *leaderelection.Elector, callbacks leaderelection.Callbacks) leaderelection.Callbacks {
	p := &post{Router: r, uid: r.label.PodUID}
	r.mu.Lock()
	r.posts = append(r.posts, p)
	r.mu.Unlock()
	started, stopped := callbacks.OnStartedLeading, callbacks.OnStoppedLeading
	callbacks.OnStartedLeading = func(ctx context.Context) {
		p.begin(ctx, e)
		if started != nil {
			started(ctx)
		}
	}
	callbacks.OnStoppedLeading = func() {
		// Theirs first: it may be what stops the work, and has no time to lose.
		defer func() {
			if t := p.present(); t != nil { // it may be called beside OnStartedLeading when time is up
				<-t.done
			}
		}()
		if stopped != nil {
			stopped()
		}
	}
	return callbacks
}

// A post is what a Router has to do with one Elector.
type post struct {
	*Router
	current *term // the last that has begun; guarded by the Router's mutex

	// Only the goroutine of the current term uses these.
	uid   string // of this process's Pod, once it is known
	mine  bool   // the Pod's label is a leader's: this process has set it, or found it with the annotation
	spare bool   // the Pod's label was nobody's when it was last looked at: it is not ours to take away
}

func (p *post) present() *term {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current
}

// begin labels the Pod for the term of ctx. The label is taken away when the term
// ends or withdraw is called.
func (p *post) begin(ctx context.Context, e *leaderelection.Elector) {
	present, _ := leaderelection.TermFromContext(ctx)
	t := &term{post: p, elector: e, config: e.Config(), token: present.Token.String(), work: ctx, done: make(chan struct{})}
	var working context.Context
	working, t.withdraw = context.WithCancel(ctx)
	p.mu.Lock()
	last := p.current
	p.current = t
	p.mu.Unlock()
	go func() {
		defer close(t.done)
		defer t.withdraw()
		if !last.awaitEnd(working) {
			return // it has set nothing
		}
		t.keep(working)
		t.takeAway()
	}()
}

// awaitEnd waits until a term sends no requests any more, and reports whether ctx is
// live then. A term of the same Elector has ended before the next one begins, except
// if it began after its time was up.
func (t *term) awaitEnd(ctx context.Context) bool {
	if t != nil {
		select {
		case <-t.done:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// patience is how long the label is tried to be taken away in an orderly stop.
// StopTimeout must not run out over it: nothing would be released then.
func (t *term) patience() time.Duration {
	enough := 5 * time.Second
	if t.config.StopTimeout > 0 {
		enough = min(enough, t.config.StopTimeout/2)
	}
	return cmp.Or(t.label.Patience, enough)
}

// lossPatience is the same after a loss: the process has no more than Margin to go.
func lossPatience(config leaderelection.Config) time.Duration {
	return min(2*time.Second, config.Margin()/4)
}

// last is a context for what remains to be done when the label is to go: while the
// work goes on, as it does after Withdraw, for as long as there is patience after
// that, or for a moment after the Lease was lost.
func (t *term) last() (context.Context, func()) {
	last, cancel := context.WithCancel(context.WithoutCancel(t.work))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		defer cancel()
		select {
		case <-t.work.Done():
		case <-last.Done():
			return
		}
		stop, end := context.WithTimeout(last, t.patience())
		defer end()
		for !isLoss(context.Cause(t.work)) && t.isHeld() && wait(stop, t.config.Margin()/16) {
			continue // nothing tells of a loss that comes after the end
		}
		wait(stop, lossPatience(t.config))
	}()
	return last, func() { cancel(); <-watched }
}

// isHeld reports whether the Lease is still ours, as far as can be told when the
// term has ended and the Lease is renewed until all has stopped.
func (t *term) isHeld() bool {
	return t.elector.HeldFor() > 0
}

// isLoss reports whether a term that ended for cause was lost.
func isLoss(cause error) bool {
	return !errors.Is(cause, leaderelection.ErrCancelled) && !errors.Is(cause, leaderelection.ErrSteppedDown)
}

// wait waits for d, and reports whether ctx is live then.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
