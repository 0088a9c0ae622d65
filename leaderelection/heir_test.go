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
