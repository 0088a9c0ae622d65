package leaderelection

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Of hundreds who draw, few have entered themselves by the time that a late watch
// tells of the first; and nobody meets the leader's next renewal.
func TestLeisure_LetsFewOfHundredsGoFirst(t *testing.T) {
	const crowd, late = 500, 120 * time.Millisecond
	c := Config{RetryPeriod: DefaultRetryPeriod}
	pause := func(i int) time.Duration { return c.leisure((float64(i) + 0.5) / crowd) }
	first, together := pause(0), 0
	for i := range crowd {
		if pause(i) < first+late {
			together++
		}
	}
	if together > 10 {
		t.Errorf("%d of %d enter themselves within %v", together, crowd, late)
	}
	if last := c.leisure(1); last > c.RetryPeriod*6/10 {
		t.Errorf("somebody waits for %v of %v", last, c.RetryPeriod)
	}
}

// A new replica is heir in place of an old one, whenever the old ones came up; those
// that came up together leave whoever was first in place.
func TestHeir_OutranksWhoIsOlderByAGeneration(t *testing.T) {
	c := Config{RetryPeriod: DefaultRetryPeriod}
	const never = -1 << 63
	for _, tc := range []struct {
		name     string
		joined   time.Duration // how long ago the candidate did
		younger  time.Duration // than the heir
		priority int32         // of the heir
		want     bool
	}{
		{"new, and the old one started three seconds before", time.Second, 3 * time.Second, 0, true},
		{"new, and the old one is a day old", time.Second, 24 * time.Hour, 0, true},
		{"a minute old, and the old one ten seconds older", time.Minute, 10 * time.Second, 0, true},
		{"both came up within a second", time.Second, 50 * time.Millisecond, 0, false},
		{"both came up an hour ago within a minute", time.Hour, time.Minute, 0, false},
		{"of an age", time.Hour, 0, 0, false},
		{"older", time.Second, -time.Hour, 0, false},
		{"the heir has the higher priority", time.Second, time.Hour, 1, false},
		{"the heir has the lower priority", time.Hour, -time.Hour, -1, true},
	} {
		me := heir{identity: "me", started: at(0).UnixMilli()}
		other := heir{identity: "other", priority: tc.priority, started: at(0).Add(-tc.younger).UnixMilli()}
		if got := me.outranks(other, c.generation(tc.joined)); got != tc.want {
			t.Errorf("%s: outranks the heir: %t, want %t", tc.name, got, tc.want)
		}
	}
	if me := (heir{identity: "me", started: at(0).UnixMilli()}); !me.outranks(heir{identity: "other", started: never}, time.Hour) || !me.outranks(heir{}, time.Hour) {
		t.Error("does not outrank one that started before all time, or nobody")
	}
}

func TestHeirOf_BelievesOnlyWhatWasWrittenInThisTerm(t *testing.T) {
	lease := record("a", 50, "leader", 10)
	acquired := metav1.NewMicroTime(at(7))
	lease.Spec.AcquireTime = &acquired
	for _, c := range []struct {
		term time.Time
		want string
	}{{at(7), "follower"}, {at(6), ""}} {
		lease.Annotations = map[string]string{heirAnnotation: heir{identity: "follower", priority: 1}.inscription(c.term.UnixMicro())}
		if h, ok := heirOf(lease); h.identity != c.want || ok != (c.want != "") {
			t.Errorf("in the term of %v, the heir of that of %v is %q (%v)", at(7), c.term, h.identity, ok)
		}
	}
}
