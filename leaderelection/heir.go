package leaderelection

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// heirAnnotation names the follower that claims first when the Lease becomes
// free. Our leaders write it with each claim, without an heir; the followers
// enter themselves. Its value is
//
//	<acquireTime in microseconds> <priority> <start of the process in milliseconds> <identity>
//
// The acquireTime ties it to one term: what was written under another leader, or
// is left over from before a foreign candidate took the Lease, names nobody.
const heirAnnotation = leasestate.SuccessorAnnotation

// An heir is a follower as the annotation names it. The zero heir is nobody.
type heir struct {
	identity string
	priority int32
	started  int64 // milliseconds since 1970, by its own clock
}

// outranks reports whether h should be heir in place of other: the higher
// priority, then the later start, so that a rolling update hands over to a
// replica that stays. Whoever started less than a generation later does not push
// another out, or hundreds that are of an age would do so one after the other.
func (h heir) outranks(other heir, generation time.Duration) bool {
	switch {
	case other.identity == "":
		return true
	case h.priority != other.priority:
		return h.priority > other.priority
	default:
		return h.started-generation.Milliseconds() > other.started
	}
}

// inscription is the annotation's value in the term that was acquired at
// acquired.
func (h heir) inscription(acquired int64) string {
	return fmt.Sprintf("%d %d %d %s", acquired, h.priority, h.started, h.identity)
}

// heirOf reads the annotation. ok reports whether the Lease's leader understands
// heirs at all; with foreign leaders nobody enters himself.
func heirOf(lease *coordinationv1.Lease) (h heir, ok bool) {
	written, ok := leasestate.NominationOf(lease)
	return heir{identity: written.Identity, priority: written.Priority, started: written.Started}, ok
}

// heir is who claims first. A Lease that was deleted leaves its heir behind.
func (v view) heir() heir {
	lease := v.lease
	if lease == nil {
		lease = v.gone
	}
	h, _ := heirOf(lease)
	return h
}

// mayInherit reports whether candidate should enter itself as heir.
func (v view) mayInherit(candidate heir, generation time.Duration) bool {
	if v.version == 0 || v.holder() == "" || v.holder() == candidate.identity {
		return false // without versions a write could undo the leader's
	}
	present, ok := heirOf(v.lease)
	return ok && present.identity != candidate.identity && candidate.outranks(present, generation)
}

// hesitate is how long those who are not the heir wait while there is one, each for
// a time of its own: long enough for it to claim, and for hundreds of watches to
// tell of that.
func hesitate() time.Duration {
	const least, most = 200 * time.Millisecond, mostHesitation
	return least + rand.N(most-least)
}

// processStart is when this process started, as far as the heir needs it.
var processStart = time.Now()

// heirship is how a follower goes about becoming the heir.
type heirship struct {
	started time.Time     // our process: who started last is a new one
	joined  time.Time     // Run, which may be long after that
	since   time.Time     // the sighting that the pause belongs to
	pause   time.Duration // how long after it we enter ourselves: at leisure
	over    string        // in place of whom
	busy    bool          // a request is under way
	refused uint64        // the version that a request was based on when it met a change
	until   time.Time     // it failed otherwise: not before
}

// leisure is how long a follower waits before it enters itself, for a draw from 0
// to 1. Few draw a short wait, so of hundreds one or two go first, and the others
// see whom they would have to outrank.
func (c Config) leisure(draw float64) time.Duration {
	return c.RetryPeriod/20 + time.Duration(math.Pow(draw, 0.125)*float64(c.RetryPeriod/2))
}

// generation is by how much a process that joined so long ago must be younger than
// another one to be counted as its successor. A new replica is that at once; those
// that came up together hours ago are equals.
func (c Config) generation(joined time.Duration) time.Duration {
	return (joined + c.RetryPeriod) / 16
}

// newcomer reports whether a process that joined so long ago has yet to find its
// place. In a rolling update it must be heir before the next old one is stopped.
func (c Config) newcomer(joined time.Duration) bool { return joined < 4*c.RetryPeriod }

func (e *Elector) asHeir() heir {
	return heir{identity: e.config.Identity, priority: e.options.priority, started: e.heirship.started.UnixMilli()}
}

// inheritLocked enters us as heir if we should be it, and returns when to ask
// again; zero if a change of the Lease will tell.
//
// It waits for a while after the leader's last renewal, but not so long that it
// could meet the next one: never until a moment of its own, which might be in step
// with them. If somebody was faster, it waits for that renewal, even if it outranks
// him: of hundreds, half would, and all at once. Only a newcomer does not.
func (e *Elector) inheritLocked() time.Time {
	h, v, joined := &e.heirship, &e.observer.view, time.Since(e.heirship.joined)
	if h.busy || h.refused == v.version || !v.mayInherit(e.asHeir(), e.config.generation(joined)) {
		return time.Time{}
	}
	present := v.heir().identity
	if !h.since.Equal(v.since) {
		h.since, h.pause, h.over = v.since, e.config.leisure(rand.Float64()), present
	}
	at := h.since.Add(h.pause)
	if at.Before(h.until) || h.over != present && !e.config.newcomer(joined) {
		return time.Time{}
	}
	if time.Now().Before(at) {
		return at
	}
	h.busy = true
	lease := v.lease.DeepCopy()
	lease.Annotations[heirAnnotation] = e.asHeir().inscription(lease.Spec.AcquireTime.UnixMicro())
	e.tasks.run(func() { e.enterAsHeir(lease) })
	return time.Time{}
}
