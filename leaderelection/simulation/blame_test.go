package simulation

import (
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// What client-go does that makes two leaders.
const (
	worksOn = "works on"             // after its time, or after it has released
	robs    = "takes another's term" // claims it too soon, or wipes it
	late    = "trusts a late reply"  // begins when the Lease is another's again
)

// blame says by what client-go made two leaders at once: "" if it did not, and
// one of our electors has to answer for it. A client-go candidate that is still at
// work when another begins is to blame itself, for ours claim no sooner than they
// may: checkWrites looks at each of their claims. One that begins though the Lease
// was claimed by somebody else since is to blame as well. One of ours that is still
// at work answers for it if its time has run out, or if the Lease was taken from it
// by one of ours.
func (w *world) blame(older, newer *member) string {
	if !older.duty.strict {
		return worksOn
	}
	if !newer.duty.strict {
		if _, taker := w.lastWrite(newer); taker != nil {
			return late
		}
	}
	last, taker := w.lastWrite(older)
	deadline := last.Time.Add(w.config.LeaseDuration)
	if !time.Now().Before(deadline) || taker == nil {
		return ""
	}
	if by := w.memberOf(taker.Client); by != nil && !by.duty.strict {
		return robs
	}
	return ""
}

// lastWrite is the last write in which a member holds the Lease, and the first
// one after it that changes the claim, nil if there is none.
func (w *world) lastWrite(m *member) (last leaderelectiontest.Write, next *leaderelectiontest.Write) {
	history := w.server.History()
	for i := len(history) - 1; i >= 0; i-- {
		write := history[i]
		if write.Client == m.name && leaderelectiontest.Holder(write.After) == m.identity {
			return write, next
		}
		if write.Before == nil || write.After == nil || !equality.Semantic.DeepEqual(write.Before.Spec, write.After.Spec) {
			next = &history[i]
		}
	}
	return last, next
}
