package lease

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNominationOf_IgnoresAnEarlierTerm(t *testing.T) {
	lease := record("a", 50, "leader", 10)
	acquired := metav1.NewMicroTime(at(7))
	lease.Spec.AcquireTime = &acquired
	for _, c := range []struct {
		term time.Time
		want string
	}{{at(7), "follower"}, {at(6), ""}} {
		lease.Annotations = map[string]string{SuccessorAnnotation: Nomination{Identity: "follower", Priority: 1}.Encode(c.term.UnixMicro())}
		if h, ok := NominationOf(lease); h.Identity != c.want || ok != (c.want != "") {
			t.Errorf("in the term of %v, the successor nominated in the term of %v is %q (%v)", at(7), c.term, h.Identity, ok)
		}
	}
}

func TestNomination_PrecedesByPriorityAndThenByAge(t *testing.T) {
	const gap = 10 * time.Second
	for _, tc := range []struct {
		name     string
		younger  time.Duration // the start of the process "me" minus the start of the other process
		priority int32         // the priority of the other nomination
		want     bool
	}{
		{"younger by more than the gap", gap + time.Second, 0, true},
		{"younger by less than the gap", gap - time.Second, 0, false},
		{"of the same age", 0, 0, false},
		{"older", -time.Hour, 0, false},
		{"younger, and the other has a higher priority", time.Hour, 1, false},
		{"older, and the other has a lower priority", -time.Hour, -1, true},
	} {
		me := Nomination{Identity: "me", Started: at(0).UnixMilli()}
		other := Nomination{Identity: "other", Priority: tc.priority, Started: at(0).Add(-tc.younger).UnixMilli()}
		if got := me.Precedes(other, gap); got != tc.want {
			t.Errorf("%s: Precedes = %t, want %t", tc.name, got, tc.want)
		}
	}
	const smallest = -1 << 63
	if me := (Nomination{Identity: "me", Started: at(0).UnixMilli()}); !me.Precedes(Nomination{Identity: "other", Started: smallest}, time.Hour) || !me.Precedes(Nomination{}, time.Hour) {
		t.Error("does not precede the smallest start time, or nobody")
	}
}
