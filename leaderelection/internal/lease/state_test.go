package lease

import (
	"math"
	"strconv"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at returns the time n seconds after the start of a test.
func at(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Second))) }

// record returns a Lease with the fields that a candidate writes. renewed is the
// renewTime, in seconds since the start of the test.
func record(uid string, version int, holder string, renewed float64) *coordinationv1.Lease {
	seconds := int32(15)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}}
	if version != 0 {
		lease.ResourceVersion = strconv.Itoa(version)
	}
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &metav1.MicroTime{Time: at(renewed)}}
	return lease
}

func event(lease *coordinationv1.Lease, seen float64) Observation {
	return Observation{Lease: lease, Version: Version(lease), At: at(seen)}
}

func reply(lease *coordinationv1.Lease, readSeq uint64, seen float64) Observation {
	s := event(lease, seen)
	s.ReadSeq = readSeq
	return s
}

func deletion(version uint64, seen float64) Observation {
	return Observation{Version: version, At: at(seen)}
}

// observed returns the state after the given observations. The sequence numbers of the
// observations are 10, 20, 30 and so on.
func observed(seen ...Observation) State {
	v := State{OwnDuration: 15 * time.Second}
	for i, s := range seen {
		v, _ = v.After(s, uint64(10*(i+1)), Holder(v.Lease) == "me")
	}
	return v
}

func annotated(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease.Annotations = map[string]string{ReleasedAnnotation: strconv.FormatInt(RenewTime(lease), 10)}
	return lease
}

func with(lease *coordinationv1.Lease, edit func(*coordinationv1.Lease)) *coordinationv1.Lease {
	edit(lease)
	return lease
}

func seconds(n int32) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &n }
}

func TestState_ReportsWhenTheLeaseMayBeClaimed(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen []Observation
		want float64 // when the Lease may be claimed, in seconds since the start of the test; negative if nothing was observed
	}{
		{"no observation", nil, -1},
		{"there is none", []Observation{reply(nil, 1, 3)}, 3},
		{"held: a LeaseDuration after it was first observed", []Observation{event(record("a", 5, "b", 0), 3)}, 18},
		{"observed again, unchanged: still from the first time", []Observation{event(record("a", 5, "b", 0), 3), reply(record("a", 5, "b", 0), 15, 9)}, 18},
		{"renewed: from the last change", []Observation{event(record("a", 5, "b", 0), 3), event(record("a", 6, "b", 2), 5)}, 20},
		{"metadata edited under a dead leader", []Observation{event(record("a", 5, "b", 0), 3), event(with(record("a", 6, "b", 0), func(l *coordinationv1.Lease) {
			l.Labels = map[string]string{"x": "y"}
		}), 9)}, 18},
		{"an event from the past", []Observation{event(record("a", 6, "b", 2), 5), event(record("a", 5, "b", 0), 7)}, 20},
		{"its holder publishes another duration", []Observation{event(with(record("a", 5, "b", 0), seconds(60)), 3)}, 63},
		{"a duration that is invalid", []Observation{event(with(record("a", 5, "b", 0), seconds(-60)), 3)}, 18},
		{"no duration", []Observation{event(with(record("a", 5, "b", 0), func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil }), 3)}, 18},
		{"no holder field", []Observation{event(with(record("a", 5, "b", 0), func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), 3)}, 5},
		{"released with the annotation: at once", []Observation{event(record("a", 5, "b", 0), 3), event(annotated(record("a", 6, "", 4)), 5)}, 5},
		{"released without the annotation: a RetryPeriod later", []Observation{event(record("a", 5, "b", 0), 3), event(record("a", 6, "", 4), 5)}, 7},
		{"the annotation of an earlier release", []Observation{event(with(annotated(record("a", 6, "", 4)), func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = &metav1.MicroTime{Time: at(9)}
		}), 9)}, 11},
		{"deleted while held: the holder stays protected", []Observation{event(record("a", 5, "b", 0), 3), deletion(6, 4)}, 18},
		{"found gone by a read", []Observation{event(record("a", 5, "b", 0), 3), reply(nil, 15, 4)}, 18},
		{"a read that was sent before the last observation changes nothing", []Observation{event(record("a", 5, "b", 0), 3), event(record("a", 6, "b", 2), 5), reply(nil, 19, 6)}, 20},
		{"deleted after it was released", []Observation{event(annotated(record("a", 6, "", 4)), 5), deletion(7, 6)}, 6},
		{"deleted and created again, free", []Observation{event(record("a", 5, "b", 0), 3), deletion(6, 4), event(annotated(record("c", 7, "", 4)), 5)}, 18},
		{"replaced by a new one, its deletion not observed", []Observation{event(record("a", 5, "b", 0), 3), event(annotated(record("c", 7, "", 4)), 5)}, 18},
		{"a deletion from the past", []Observation{event(record("c", 7, "b", 2), 5), deletion(6, 6)}, 20},
		{"history was rewound to a free Lease: somebody may have led since", []Observation{event(record("a", 50, "b", 0), 3), rewound(reply(annotated(record("a", 7, "", -9)), 15, 9))}, 24},
		{"history was rewound to before the Lease, from a holder of long duration", []Observation{event(with(record("a", 50, "b", 0), seconds(60)), 3), rewound(reply(nil, 15, 9))}, 63},
		{"our own was deleted", []Observation{event(record("a", 5, "me", 0), 3), deletion(6, 4)}, 4},
		{"a foreign one and then our own was deleted", []Observation{event(record("a", 5, "b", 0), 3), deletion(6, 4), event(record("c", 7, "me", 4), 5), deletion(8, 6)}, 18},
		{"history was rewound: from now", []Observation{event(record("a", 50, "b", 0), 3), rewound(reply(record("a", 7, "d", -9), 15, 9))}, 24},
		{"without versions: compared by spec", []Observation{event(record("", 0, "b", 0), 3), reply(record("", 0, "b", 0), 15, 9)}, 18},
		{"without versions: renewed", []Observation{event(record("", 0, "b", 0), 3), reply(record("", 0, "b", 4), 15, 5)}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule := ClaimRule{ForeignReleaseDelay: 2 * time.Second, Own: func(*coordinationv1.Lease) bool { return false }}
			got, known := observed(tt.seen...).ClaimableAt(rule)
			if known != (tt.want >= 0) || known && !got.Equal(at(tt.want)) {
				t.Errorf("claimableAt = %v s (known: %v), want %v s", got.Sub(epoch).Seconds(), known, tt.want)
			}
		})
	}
}

// rewound returns a copy of the observation s in which Rewound is true.
func rewound(s Observation) Observation { s.Rewound = true; return s }

func TestState_ARecordOfItsOwnMayBeClaimedAtOnce(t *testing.T) {
	rule := ClaimRule{Own: func(l *coordinationv1.Lease) bool { return Holder(l) == "me" }}
	if got, _ := observed(event(record("a", 5, "me", 0), 3)).ClaimableAt(rule); !got.Equal(at(3)) {
		t.Errorf("claimableAt = %v, want when it was seen", got)
	}
}

func TestNextTransitions_StaysWithinWhatTheServerAccepts(t *testing.T) {
	for _, tt := range []struct{ before, want int32 }{{0, 1}, {7, 8}, {-3, 0}, {math.MaxInt32 - 1, math.MaxInt32}, {math.MaxInt32, 0}} {
		lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseTransitions: &tt.before}}
		if got := NextTransitions(lease); got != tt.want {
			t.Errorf("NextTransitions(%d) = %d, want %d", tt.before, got, tt.want)
		}
	}
}
