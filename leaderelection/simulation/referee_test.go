package simulation

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A referee checks the rules of an election, and records each violation.
type referee struct {
	cluster *cluster

	mu             sync.Mutex
	working        []*replica             // the replicas that currently work
	startedAt      map[*replica]time.Time // the time at which the replica last started to work
	claimSentAt    map[*replica]time.Time // the time at which the replica sent its most recent claim
	intervals      []workInterval
	lastToken      leaderelection.Token
	editedAt       time.Time // the time of the most recent manual edit of the Lease
	violations     []violation
	proofs         int             // the number of claims before the Lease had expired, from processes that had ended
	lastOverlap    string          // a description of the most recent overlap that client-go caused
	overlaps       bool            // true if two replicas led at once and no manual edit excuses the overlap
	editKind       string          // the kind of the most recent manual edit
	excusedBy      map[string]bool // the kinds of manual edits that excused an overlap
	clientGoCauses map[string]bool // the ways in which client-go caused overlaps

	timeWithLeader time.Duration // the total time during the fault phase in which at least one replica worked
	summedWorkTime time.Duration // the sum of the work times of all replicas during the fault phase
	changedAt      time.Time
	inFaultPhase   bool
}

// A violation is a broken rule and the time at which it was broken.
type violation struct {
	at   time.Time
	text string
}

// firstViolation describes the first violation. The description includes the
// part of the trace before and after the violation.
func (r *referee) firstViolation() string {
	first := r.violations[0]
	return fmt.Sprintf("%d violations, the first:\n%s\n%s", len(r.violations), first.text,
		r.cluster.trace.excerpt(first.at, r.cluster.server.History()))
}

// A workInterval is a period in which one replica worked.
type workInterval struct {
	replica    *replica
	start, end time.Time // the field end is zero while the work runs
}

func newReferee(c *cluster) *referee {
	return &referee{cluster: c, startedAt: map[*replica]time.Time{}, claimSentAt: map[*replica]time.Time{}, excusedBy: map[string]bool{}, clientGoCauses: map[string]bool{}, changedAt: time.Now(), inFaultPhase: true}
}

// addViolationLocked records a violation with the current time.
func (r *referee) addViolationLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.cluster.trace.addf("REFEREE", "%s", text)
	r.violations = append(r.violations, violation{time.Now(), text})
}

// overlapLocked records that two replicas lead at the same time. A manual edit
// excuses the overlap if one of the replicas claimed the Lease before the edit.
// All overlaps after the restore of a backup are excused.
func (r *referee) overlapLocked(older, newer *replica, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	first := r.claimSentAt[older]
	if r.claimSentAt[newer].Before(first) {
		first = r.claimSentAt[newer]
	}
	if first.IsZero() { // IsLeader can be true before the replica works for the first time
		first = time.Now()
	}
	if !r.editedAt.Before(first) || r.cluster.historyRewound {
		r.excusedBy[r.editKind] = true
		r.cluster.trace.addf("REFEREE", "excused: %s", text)
		return
	}
	r.overlaps = true
	if cause := r.cluster.clientGoCause(older, newer); cause != "" {
		r.clientGoCauses[cause] = true
		if text != r.lastOverlap {
			r.lastOverlap = text
			r.cluster.trace.addf("REFEREE", "client-go's: %s: %s", cause, text)
		}
		return
	}
	r.addViolationLocked("%s", text)
}

// accountLocked adds the time since the last change of r.working to
// timeWithLeader and summedWorkTime. Call accountLocked before each change of
// r.working.
func (r *referee) accountLocked() {
	now := time.Now()
	if r.inFaultPhase && len(r.working) > 0 {
		r.timeWithLeader += now.Sub(r.changedAt)
		r.summedWorkTime += now.Sub(r.changedAt) * time.Duration(len(r.working))
	}
	r.changedAt = now
}

// endFaults ends the fault phase. Time after the fault phase does not count in
// timeWithLeader and summedWorkTime.
func (r *referee) endFaults() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accountLocked()
	r.inFaultPhase = false
}

// started records that a replica starts to work. claimed is the
// time at which the replica sent its claim of the Lease.
func (r *referee) started(rep *replica, token leaderelection.Token, claimed time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.crashed {
		return
	}
	r.cluster.trace.addf(rep.name, "STARTS TO WORK, token %d", token)
	r.accountLocked()
	r.startedAt[rep], r.claimSentAt[rep] = time.Now(), claimed
	for _, other := range r.working {
		if other != rep {
			r.overlapLocked(other, rep, "%s starts to work while %s works", rep.name, other.name)
		}
	}
	for _, other := range r.cluster.running() {
		if other != rep && !other.crashed && other.IsLeader() && !slices.Contains(r.working, other) {
			r.overlapLocked(other, rep, "%s starts to work while IsLeader of %s is true", rep.name, other.name)
		}
	}
	if token != 0 && token <= r.lastToken && !r.cluster.historyRewound && r.editedAt.Before(claimed) {
		r.addViolationLocked("%s works with token %d, but token %d was used before", rep.name, token, r.lastToken)
	}
	r.lastToken = max(r.lastToken, token)
	r.working = append(r.working, rep)
	r.intervals = append(r.intervals, workInterval{replica: rep, start: time.Now()})
}

// stopped records that the work of a replica has ended.
func (r *referee) stopped(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.crashed {
		return
	}
	r.cluster.trace.addf(rep.name, "STOPPED WORKING")
	r.endIntervalLocked(rep, false)
}

// endIntervalLocked ends the latest work interval of a replica. If all is true,
// endIntervalLocked ends all work intervals of the replica.
func (r *referee) endIntervalLocked(rep *replica, all bool) {
	r.accountLocked()
	for i := len(r.intervals) - 1; i >= 0; i-- {
		if r.intervals[i].replica == rep && r.intervals[i].end.IsZero() {
			r.intervals[i].end = time.Now()
			if !all {
				break
			}
		}
	}
	for i := slices.Index(r.working, rep); i >= 0; i = slices.Index(r.working, rep) {
		r.working = slices.Delete(r.working, i, i+1)
		if !all {
			return
		}
	}
}

// markCrashed records that a replica has crashed. All work of the replica ends,
// and no rule applies to the replica anymore.
func (r *referee) markCrashed(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endIntervalLocked(rep, true)
	rep.crashed = true
}

// markEnded records that the process of a replica has ended.
func (r *referee) markEnded(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.ended.IsZero() {
		rep.ended = time.Now()
	}
}

// hasEnded reports whether the process of a replica had ended at a time.
func (r *referee) hasEnded(rep *replica, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return rep != nil && !rep.ended.IsZero() && !rep.ended.After(at)
}

// returned checks a replica whose method Run has returned. Run must not return
// an error, and must not return while the work runs.
func (r *referee) returned(rep *replica) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rep.crashed {
		return
	}
	r.cluster.trace.addf(rep.name, "Run returned %v", rep.err)
	if rep.err != nil {
		r.addViolationLocked("Run of %s returned %v", rep.name, rep.err)
	}
	if rep.callbacks.checked && (slices.Contains(r.working, rep) || rep.callbacks.unreturned()) {
		r.addViolationLocked("Run of %s returned while its work was running", rep.name)
	}
}

// violated records a violation by a replica, unless the replica has crashed.
func (r *referee) violated(rep *replica, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !rep.crashed {
		r.addViolationLocked("%s: %s", rep.name, fmt.Sprintf(format, args...))
	}
}

// manualEdit calls edit, which changes the Lease. If edit succeeds and kind is
// not empty, the edit can excuse overlaps.
func (r *referee) manualEdit(kind string, edit func() error) {
	r.mu.Lock()
	lastAt, lastKind := r.editedAt, r.editKind // a replica may react at once, so set these fields before the edit
	if kind != "" {
		r.editedAt, r.editKind = time.Now(), kind
	}
	r.mu.Unlock()
	if edit() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.editedAt, r.editKind = lastAt, lastKind
}

// check calls IsLeader of each replica, and records a violation if the result
// breaks a rule. Call check while all other goroutines are blocked.
func (r *referee) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var leaders []*replica
	for _, rep := range r.cluster.running() {
		if rep.crashed || !rep.IsLeader() {
			continue
		}
		leaders = append(leaders, rep)
		if rep.callbacks.checked && !rep.callbacks.contextLive() {
			r.addViolationLocked("IsLeader of %s is true, but the work's context is not live", rep.name)
		}
	}
	slices.SortFunc(leaders, func(a, b *replica) int { return r.startedAt[a].Compare(r.startedAt[b]) })
	for i := 1; i < len(leaders); i++ {
		r.overlapLocked(leaders[i-1], leaders[i], "IsLeader of %s is true, and so is IsLeader of %s", leaders[i].name, leaders[i-1].name)
	}
}

// soleWorker returns the replica that works. If no replica or more than one
// replica works, soleWorker returns nil.
func (r *referee) soleWorker() *replica {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.working) != 1 {
		return nil
	}
	return r.working[0]
}

// worked reports whether the replica worked when a write was accepted. The
// parameter at is the time of the write.
func (r *referee) worked(rep *replica, at time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.intervals {
		if s.replica == rep && s.start.Before(at) && s.end.After(at) {
			return true
		}
	}
	return false
}

// violatedByWrite records that an accepted write broke a rule.
func (r *referee) violatedByWrite(write leaderelectiontest.Write, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.violations = append(r.violations, violation{write.Time, fmt.Sprintf(format, args...) + ": " + write.String()})
}
