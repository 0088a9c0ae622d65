package simulation

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A referee watches who works and who says that he leads.
type referee struct {
	world *world

	mu         sync.Mutex
	working    []*member // live ones, one entry for each of their works
	since      map[*member]time.Time
	spans      []span
	lastToken  leaderelection.Token
	tampered   time.Time // when somebody last touched the Lease by hand
	violations []violation
	how        string          // how that was done
	excused    map[string]bool // what is to blame for overlaps

	covered   time.Duration // with somebody at work, as long as the faults last
	changedAt time.Time
	faults    bool
}

// violation is a rule broken at a moment.
type violation struct {
	at   time.Time
	text string
}

// report tells the first violation with its trace.
func (r *referee) report() string {
	first := r.violations[0]
	return fmt.Sprintf("%d violations, the first:\n%s\n%s", len(r.violations), first.text,
		r.world.trace.around(first.at, r.world.server.History()))
}

// span is one work, for the look at who wrote while he worked.
type span struct {
	member     *member
	start, end time.Time // end is zero while it goes on
}

func newReferee(w *world) *referee {
	return &referee{world: w, since: map[*member]time.Time{}, excused: map[string]bool{}, changedAt: time.Now(), faults: true}
}

func (r *referee) violatedLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.world.trace.addf("REFEREE", "%s", text)
	r.violations = append(r.violations, violation{time.Now(), text})
}

// overlapLocked is called when two lead at once, the older of them since then.
// A backup that was restored excuses it for good: resourceVersions come back, so
// that an old claim may fit a new record.
func (r *referee) overlapLocked(older time.Time, format string, args ...any) {
	if !r.tampered.Before(older) || r.world.rewound {
		r.excused[r.how] = true
		r.world.trace.addf("REFEREE", "excused: "+format, args...)
		return
	}
	r.violatedLocked(format, args...)
}

// accountLocked adds up the time with a leader, before who works changes.
func (r *referee) accountLocked() {
	now := time.Now()
	if r.faults && len(r.working) > 0 {
		r.covered += now.Sub(r.changedAt)
	}
	r.changedAt = now
}

func (r *referee) endFaults() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accountLocked()
	r.faults = false
}

// started is told before any work is done.
func (r *referee) started(m *member, token leaderelection.Token) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.dead {
		return
	}
	r.world.trace.addf(m.name, "WORKS, token %d", token)
	r.accountLocked()
	for _, other := range r.working {
		if other != m {
			r.overlapLocked(r.since[other], "%s starts to work while %s works", m.name, other.name)
		}
	}
	for _, other := range r.world.alive() {
		if other != m && other.IsLeader() && !slices.Contains(r.working, other) {
			r.overlapLocked(r.since[other], "%s starts to work while %s says that it leads", m.name, other.name)
		}
	}
	if token != 0 && token <= r.lastToken && !r.world.rewound {
		r.violatedLocked("%s works with token %d after %d", m.name, token, r.lastToken)
	}
	r.lastToken = max(r.lastToken, token)
	r.working = append(r.working, m)
	r.since[m] = time.Now()
	r.spans = append(r.spans, span{member: m, start: time.Now()})
}

// stopped is told when all work is done.
func (r *referee) stopped(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.dead {
		return
	}
	r.world.trace.addf(m.name, "has stopped working")
	r.endLocked(m, false)
}

func (r *referee) endLocked(m *member, all bool) {
	r.accountLocked()
	for i := len(r.spans) - 1; i >= 0; i-- {
		if r.spans[i].member == m && r.spans[i].end.IsZero() {
			r.spans[i].end = time.Now()
			if !all {
				break
			}
		}
	}
	for i := slices.Index(r.working, m); i >= 0; i = slices.Index(r.working, m) {
		r.working = slices.Delete(r.working, i, i+1)
		if !all {
			return
		}
	}
}

// bury takes a crashed process out of the game.
func (r *referee) bury(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLocked(m, true)
	m.dead = true
}

// returned is told when Run has returned.
func (r *referee) returned(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.dead {
		return
	}
	r.world.trace.addf(m.name, "Run returned %v", m.err)
	if m.err != nil {
		r.violatedLocked("Run of %s returned %v", m.name, m.err)
	}
	if m.duty.strict && slices.Contains(r.working, m) {
		r.violatedLocked("Run of %s returned while its work goes on", m.name)
	}
}

func (r *referee) complain(m *member, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !m.dead {
		r.violatedLocked("%s: %s", m.name, fmt.Sprintf(format, args...))
	}
}

// tamper notes that somebody touches the Lease by hand.
func (r *referee) tamper(how string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tampered, r.how = time.Now(), how
}

// look is called while everything stands still.
func (r *referee) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var leaders []string
	older := time.Now()
	for _, m := range r.world.alive() {
		if m.dead || !m.IsLeader() {
			continue
		}
		leaders = append(leaders, m.name)
		if since := r.since[m]; since.Before(older) {
			older = since
		}
		if m.duty.strict && !m.duty.live() {
			r.violatedLocked("%s says that it leads, but its work has no live context", m.name)
		}
	}
	if len(leaders) > 1 {
		r.overlapLocked(older, "these say that they lead: %s", strings.Join(leaders, ", "))
	}
}

// worker is who works, nil unless it is exactly one.
func (r *referee) worker() *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.working) != 1 {
		return nil
	}
	return r.working[0]
}

func (w *world) alive() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.members), func(m *member) bool {
		select {
		case <-m.done:
			return true
		default:
			return false
		}
	})
}

// A duty is what a member does when it leads, and checks that it is told so in
// order.
type duty struct {
	member *member
	early  bool // OnStartedLeading returns at once, OnStoppedLeading stops the work
	strict bool // callbacks are checked: it is an Elector of ours

	mu      sync.Mutex
	state   string
	context context.Context // of the work that goes on
	leader  string          // the last one told by OnNewLeader
}

func (d *duty) move(from, to string) {
	d.mu.Lock()
	state := d.state
	d.state = to
	d.mu.Unlock()
	if d.strict && state != from {
		d.member.world.referee.complain(d.member, "a callback came out of order: %q after %q", to, state)
	}
}

func (d *duty) live() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.context != nil && d.context.Err() == nil
}

func (d *duty) onStarted(ctx context.Context) {
	d.move("", "working")
	d.mu.Lock()
	d.context = ctx
	d.mu.Unlock()
	term, _ := leaderelection.TermFromContext(ctx)
	d.member.world.referee.started(d.member, term.Token)
	if !d.early || !d.strict {
		<-ctx.Done()
		d.finish()
	}
	d.move("working", "returned")
}

func (d *duty) onStopped() {
	d.move("returned", "stopping")
	if d.live() {
		d.member.world.referee.complain(d.member, "OnStoppedLeading was called on a live context")
	}
	if d.early {
		d.finish()
	}
	d.move("stopping", "")
}

// finish takes as long as the schedule says to stop the work.
func (d *duty) finish() {
	if w := d.member.world; w.stop > 0 {
		w.mu.Lock()
		pause := between(w.rng, 0, w.stop)
		w.mu.Unlock()
		time.Sleep(pause)
	}
	d.member.world.referee.stopped(d.member)
}

func (d *duty) onNewLeader(identity string) {
	d.mu.Lock()
	last := d.leader
	d.leader = identity
	d.mu.Unlock()
	if identity == "" || identity == last {
		d.member.world.referee.complain(d.member, "OnNewLeader(%q) after %q", identity, last)
	}
}
