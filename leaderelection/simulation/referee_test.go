package simulation

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A referee watches who works and who says that he leads.
type referee struct {
	world *world

	mu         sync.Mutex
	working    []*member             // live ones, one entry for each of their works
	since      map[*member]time.Time // when they began to work
	claimed    map[*member]time.Time // when they sent the claim of that term: before they knew
	spans      []span
	lastToken  leaderelection.Token
	tampered   time.Time // when somebody last touched the Lease by hand
	violations []violation
	said       string          // the last overlap that the trace tells of
	overlaps   bool            // two led at once, and nobody's hands are to blame
	how        string          // how that was done
	excused    map[string]bool // what people did that is to blame for overlaps
	bare       map[string]bool // what client-go did that is

	covered   time.Duration // with somebody at work, as long as the faults last
	summed    time.Duration // of all that are at work
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
	return &referee{world: w, since: map[*member]time.Time{}, claimed: map[*member]time.Time{}, excused: map[string]bool{}, bare: map[string]bool{}, changedAt: time.Now(), faults: true}
}

func (r *referee) violatedLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.world.trace.addf("REFEREE", "%s", text)
	r.violations = append(r.violations, violation{time.Now(), text})
}

// overlapLocked is called when two lead at once. People who touched the Lease
// since the first of them claimed it excuse it, whoever was told first that he has
// won; a backup that was restored does so for good: resourceVersions come back, so
// that an old claim may fit a new record.
func (r *referee) overlapLocked(older, newer *member, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	first := r.claimed[older]
	if r.claimed[newer].Before(first) {
		first = r.claimed[newer]
	}
	if first.IsZero() { // it says that it leads before its first work has begun
		first = time.Now()
	}
	if !r.tampered.Before(first) || r.world.rewound {
		r.excused[r.how] = true
		r.world.trace.addf("REFEREE", "excused: %s", text)
		return
	}
	r.overlaps = true
	if why := r.world.blame(older, newer); why != "" {
		r.bare[why] = true
		if text != r.said {
			r.said = text // once is enough
			r.world.trace.addf("REFEREE", "client-go's: %s: %s", why, text)
		}
		return
	}
	r.violatedLocked("%s", text)
}

// accountLocked adds up the time with a leader, before who works changes.
func (r *referee) accountLocked() {
	now := time.Now()
	if r.faults && len(r.working) > 0 {
		r.covered += now.Sub(r.changedAt)
		r.summed += now.Sub(r.changedAt) * time.Duration(len(r.working))
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
func (r *referee) started(m *member, token leaderelection.Token, claimed time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.dead {
		return
	}
	r.world.trace.addf(m.name, "WORKS, token %d", token)
	r.accountLocked()
	r.since[m], r.claimed[m] = time.Now(), claimed
	for _, other := range r.working {
		if other != m {
			r.overlapLocked(other, m, "%s starts to work while %s works", m.name, other.name)
		}
	}
	for _, other := range r.world.alive() {
		if other != m && !other.dead && other.IsLeader() && !slices.Contains(r.working, other) {
			r.overlapLocked(other, m, "%s starts to work while %s says that it leads", m.name, other.name)
		}
	}
	if token != 0 && token <= r.lastToken && !r.world.rewound && r.tampered.Before(claimed) {
		r.violatedLocked("%s works with token %d after %d", m.name, token, r.lastToken)
	}
	r.lastToken = max(r.lastToken, token)
	r.working = append(r.working, m)
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
	if m.duty.strict && (slices.Contains(r.working, m) || m.duty.busy()) {
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

// tamper lets somebody touch the Lease by hand, and notes it if there is one. An
// edit without a name can be to blame for nothing.
func (r *referee) tamper(how string, touch func() error) {
	r.mu.Lock()
	at, before := r.tampered, r.how
	if how != "" {
		r.tampered, r.how = time.Now(), how
	}
	r.mu.Unlock()
	if touch() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tampered, r.how = at, before
}

// look is called while everything stands still.
func (r *referee) look() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var leaders []*member
	for _, m := range r.world.alive() {
		if m.dead || !m.IsLeader() {
			continue
		}
		leaders = append(leaders, m)
		if m.duty.strict && !m.duty.live() {
			r.violatedLocked("%s says that it leads, but its work has no live context", m.name)
		}
	}
	slices.SortFunc(leaders, func(a, b *member) int { return r.since[a].Compare(r.since[b]) })
	for i := 1; i < len(leaders); i++ {
		r.overlapLocked(leaders[i-1], leaders[i], "%s says that it leads, and so does %s", leaders[i].name, leaders[i-1].name)
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
