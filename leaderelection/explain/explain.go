package explain

import (
	"fmt"
	"math"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// Explain says what there is to say at now of what was seen until then.
func Explain(s Seen, now time.Time) Answer {
	a := Answer{State: Unknown, At: now, Certain: true}
	if s.looked {
		a.Heard = &s.heard
	}
	switch {
	case !s.looked:
		a.because("the Lease was not looked at yet")
		return a
	case s.lease == nil:
		a.absent(s)
		a.formerly(s)
		a.lost(s)
		return a
	}
	a.Lease = s.lease.Namespace + "/" + s.lease.Name
	a.Version, a.Transitions = s.lease.ResourceVersion, transitionsOf(s.lease)
	a.Writer = writerOf(s.lease)
	heritage, _ := leasestate.NominationOf(s.lease)
	a.Heir = heritage.Identity
	a.Terms = termsOf(s.lease)
	if holderOf(s.lease) == "" {
		a.free(s)
	} else {
		a.held(s)
	}
	a.formerly(s)
	a.lost(s)
	if s.lease.Spec.Strategy != nil {
		a.note("the API server chooses the leader (strategy %q): coordinated leader election", *s.lease.Spec.Strategy)
	}
	return a
}

// lost takes back what may not be so any more.
func (a *Answer) lost(s Seen) {
	if !s.Lost(a.At) {
		return
	}
	a.Lost, a.Certain, a.Claim = true, false, nil
	a.because("not heard of for %v, since %s: the API server cannot be reached or does not answer, or you may not look any more; what is said here was so then",
		rounded(a.At.Sub(s.heard)), clock(s.heard))
}

func (a *Answer) absent(s Seen) {
	a.State, a.Claim = Absent, &Claim{From: s.since}
	a.because("there is no Lease: no candidate has run here yet, none may create it, or somebody has deleted it")
	if s.deleted {
		a.because("the Lease was deleted, at %s or shortly before, and nobody has made it again: no candidate runs, or none may create it", clock(s.since))
	}
	a.protect(s)
}

func (a *Answer) free(s Seen) {
	a.State, a.Claim = Free, &Claim{From: s.since}
	switch {
	case s.lease.Spec.AcquireTime == nil && s.lease.Spec.RenewTime == nil:
		a.State = Unused
		a.because("nobody has ever held it: no candidate runs, or none may update it")
	case leasestate.IsReleased(s.lease):
		a.because("its leader has stopped its work and released it, and nobody has claimed it since")
		if a.Heir != "" {
			a.Claim.Note = fmt.Sprintf("by the heir, %s; the others hesitate for up to half a second", name(a.Heir))
		}
	default:
		a.because("its leader has released it or somebody has emptied it, and nobody has claimed it since")
		a.Claim.Note = "by client-go; an Elector of package leaderelection waits for one RetryPeriod more, for the work of the last leader may still run"
	}
	if t := timeOf(s.lease.Spec.RenewTime); t != nil && !s.changed && t.Before(s.since) {
		a.Claim.From = *t
	}
	a.protect(s)
}

// protect takes in that who saw a holder whose Lease is gone waits until his time
// has run out.
func (a *Answer) protect(s Seen) {
	if !s.protected.IsZero() && s.protected.After(a.Claim.From) {
		a.Claim = &Claim{From: s.protected, Note: "by those who saw the Lease before it was deleted; others may at once"}
	}
}

// writerOf tells an Elector of ours by marks that belong to what the Lease says now.
func writerOf(lease *coordinationv1.Lease) Writer {
	_, inherits := leasestate.NominationOf(lease)
	w := Writer{Incumbent: inherits || leasestate.IsReleased(lease)}
	var newest *metav1.Time
	for _, entry := range lease.ManagedFields {
		if entry.FieldsV1 == nil || !strings.Contains(entry.FieldsV1.GetRawString(), `"f:renewTime"`) {
			continue
		}
		if newest == nil || entry.Time != nil && newest.Before(entry.Time) {
			w.FieldManager, newest = entry.Manager, entry.Time
		}
	}
	return w
}

func termsOf(lease *coordinationv1.Lease) []Term {
	var terms []Term
	for _, t := range leasestate.History(lease) {
		terms = append(terms, Term{Leader: t.Holder, Acquired: t.Acquired.Time, Renewed: timeOf(t.Renewed), End: t.End})
	}
	return terms
}

func transitionsOf(lease *coordinationv1.Lease) int32 {
	if n := lease.Spec.LeaseTransitions; n != nil {
		return *n
	}
	return 0
}

// timeOf is a time that can be written as JSON, or nil.
func timeOf(t *metav1.MicroTime) *time.Time {
	if t == nil || t.Year() < 0 || t.Year() >= 10000 {
		return nil
	}
	return &t.Time
}

func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// rounded is d as precisely as it is worth to be told.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second)
	case d >= time.Second:
		return d.Round(100 * time.Millisecond)
	default:
		return d.Round(time.Millisecond)
	}
}
