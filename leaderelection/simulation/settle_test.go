package simulation

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// lateness is how long after everything has healed a write may still arrive
// that was sent before.
const lateness = 20 * time.Second

// settle waits for exactly one leader, who stays.
func (w *world) settle() {
	c := w.config
	healed := time.Since(w.trace.start)
	if slices.ContainsFunc(w.alive(), func(m *member) bool { return !m.duty.strict }) {
		healed += c.LeaseDuration + c.RenewDeadline // client-go works on for as long when another one holds the Lease
	}
	w.until(healed + c.Window()) // who led at the end of the faults may still lose
	bound := healed + c.LeaseDuration + 4*c.RetryPeriod + max(time.Second, c.RenewDeadline/2) + lateness
	var leader *member
	for leader == nil && time.Since(w.trace.start) < bound {
		w.until(time.Since(w.trace.start) + step)
		if m := w.referee.worker(); m != nil && m.duty.live() { // or else it was told to stop before everything healed
			leader = m
		}
	}
	r := w.referee
	if leader == nil {
		r.complain(w.members[0], "no leader %v after everything had healed", time.Since(w.trace.start)-healed)
		return
	}
	for end := time.Since(w.trace.start) + c.LeaseDuration; time.Since(w.trace.start) < end; {
		w.until(time.Since(w.trace.start) + step)
		if now := r.worker(); now != leader {
			r.complain(leader, "lost leadership after everything had healed")
			return
		}
	}
}

// checkWrites looks at every write that the server has accepted.
func (w *world) checkWrites() {
	changed := w.trace.start // the last change of the spec
	writer := ""             // by whom
	var last *coordinationv1.Lease
	for _, write := range w.server.History() {
		if write.Before != last {
			changed, writer = w.trace.start, "" // a backup was restored
		}
		last = write.After
		m := w.memberOf(write.Client)
		before, after := leaderelectiontest.Holder(write.Before), leaderelectiontest.Holder(write.After)
		switch {
		case m == nil || !m.duty.strict || write.After == nil:
		case after == "" && before != "" && writer != m.name && writer != "":
			w.referee.wrote(write, "%s releases a term that %q wrote", m.name, writer)
		case after == "" && before != "" && w.referee.worked(m, write.Time):
			w.referee.wrote(write, "%s releases while its work goes on", m.name)
		case w.rewound:
		case after == m.identity && before != "" && writer != m.name && writer != "" &&
			write.Time.Sub(changed) < time.Duration(*write.Before.Spec.LeaseDurationSeconds)*time.Second:
			w.referee.wrote(write, "%s claims a Lease that was changed %v before", m.name, write.Time.Sub(changed))
		}
		if write.Before == nil || write.After == nil || !equality.Semantic.DeepEqual(write.Before.Spec, write.After.Spec) {
			changed, writer = write.Time, write.Client // an heir writes metadata only
		}
	}
}

func (w *world) memberOf(client string) *member {
	for _, m := range w.members {
		if m.name == client {
			return m
		}
	}
	return nil
}

// worked reports whether a member was at work at a moment.
func (r *referee) worked(m *member, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		if s.member == m && s.start.Before(at) && s.end.After(at) {
			return true
		}
	}
	return false
}

func (r *referee) wrote(w leaderelectiontest.Write, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, violation{w.Time, fmt.Sprintf(format, args...) + ": " + w.String()})
}
