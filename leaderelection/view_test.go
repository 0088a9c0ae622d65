package leaderelection

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

// at is a moment n seconds into a test.
func at(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Second))) }

// record makes a Lease as a candidate writes it.
func record(uid string, version int, holder string, renewed float64) *coordinationv1.Lease {
	seconds := int32(15)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{UID: types.UID(uid)}}
	if version != 0 {
		lease.ResourceVersion = strconv.Itoa(version)
	}
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &metav1.MicroTime{Time: at(renewed)}}
	return lease
}

func event(lease *coordinationv1.Lease, seen float64) sighting {
	return sighting{lease: lease, version: versionOf(lease), at: at(seen)}
}

func reply(lease *coordinationv1.Lease, asked uint64, seen float64) sighting {
	s := event(lease, seen)
	s.asked = asked
	return s
}

func deletion(version uint64, seen float64) sighting { return sighting{version: version, at: at(seen)} }

// A story is what was seen, in order; each at a moment of its own, counted from
// ten.
func story(seen ...sighting) view {
	v := view{fallback: 15 * time.Second}
	for i, s := range seen {
		v, _ = v.after(s, uint64(10*(i+1)), holderOf(v.lease) == "me")
	}
	return v
}

func marked(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease.Annotations = map[string]string{releasedAnnotation: strconv.FormatInt(renewedAt(lease), 10)}
	return lease
}

func with(lease *coordinationv1.Lease, edit func(*coordinationv1.Lease)) *coordinationv1.Lease {
	edit(lease)
	return lease
}

func seconds(n int32) func(*coordinationv1.Lease) {
	return func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &n }
}

func TestView_SaysWhenTheLeaseMayBeClaimed(t *testing.T) {
	for _, tt := range []struct {
		name string
		seen []sighting
		want float64 // negative: never, as far as is known
	}{
		{"nothing was seen", nil, -1},
		{"there is none", []sighting{reply(nil, 1, 3)}, 3},
		{"held: a LeaseDuration after it was first seen", []sighting{event(record("a", 5, "b", 0), 3)}, 18},
		{"seen again, unchanged: still from the first time", []sighting{event(record("a", 5, "b", 0), 3), reply(record("a", 5, "b", 0), 15, 9)}, 18},
		{"renewed: from the last change", []sighting{event(record("a", 5, "b", 0), 3), event(record("a", 6, "b", 2), 5)}, 20},
		{"metadata edited under a dead leader", []sighting{event(record("a", 5, "b", 0), 3), event(with(record("a", 6, "b", 0), func(l *coordinationv1.Lease) {
			l.Labels = map[string]string{"x": "y"}
		}), 9)}, 18},
		{"an event from the past", []sighting{event(record("a", 6, "b", 2), 5), event(record("a", 5, "b", 0), 7)}, 20},
		{"its holder publishes another duration", []sighting{event(with(record("a", 5, "b", 0), seconds(60)), 3)}, 63},
		{"a duration that makes no sense", []sighting{event(with(record("a", 5, "b", 0), seconds(-60)), 3)}, 18},
		{"no duration", []sighting{event(with(record("a", 5, "b", 0), func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = nil }), 3)}, 18},
		{"no holder field", []sighting{event(with(record("a", 5, "b", 0), func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }), 3)}, 5},
		{"released with our mark: at once", []sighting{event(record("a", 5, "b", 0), 3), event(marked(record("a", 6, "", 4)), 5)}, 5},
		{"released without a mark: a RetryPeriod later", []sighting{event(record("a", 5, "b", 0), 3), event(record("a", 6, "", 4), 5)}, 7},
		{"the mark of an earlier release", []sighting{event(with(marked(record("a", 6, "", 4)), func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = &metav1.MicroTime{Time: at(9)}
		}), 9)}, 11},
		{"deleted while held: the holder's time goes on", []sighting{event(record("a", 5, "b", 0), 3), deletion(6, 4)}, 18},
		{"found gone by a read", []sighting{event(record("a", 5, "b", 0), 3), reply(nil, 15, 4)}, 18},
		{"a read that was sent before it was seen says nothing", []sighting{event(record("a", 5, "b", 0), 3), event(record("a", 6, "b", 2), 5), reply(nil, 19, 6)}, 20},
		{"deleted after it was released", []sighting{event(marked(record("a", 6, "", 4)), 5), deletion(7, 6)}, 6},
		{"deleted and made anew, free", []sighting{event(record("a", 5, "b", 0), 3), deletion(6, 4), event(marked(record("c", 7, "", 4)), 5)}, 18},
		{"replaced by a new one, its deletion unseen", []sighting{event(record("a", 5, "b", 0), 3), event(marked(record("c", 7, "", 4)), 5)}, 18},
		{"a deletion from the past", []sighting{event(record("c", 7, "b", 2), 5), deletion(6, 6)}, 20},
		{"history was rewound to a free Lease: somebody may have led since", []sighting{event(record("a", 50, "b", 0), 3), with2(reply(marked(record("a", 7, "", -9)), 15, 9))}, 24},
		{"history was rewound to before the Lease, from a holder of long duration", []sighting{event(with(record("a", 50, "b", 0), seconds(60)), 3), with2(reply(nil, 15, 9))}, 63},
		{"our own was deleted", []sighting{event(record("a", 5, "me", 0), 3), deletion(6, 4)}, 4},
		{"a foreign one and then our own was deleted", []sighting{event(record("a", 5, "b", 0), 3), deletion(6, 4), event(record("c", 7, "me", 4), 5), deletion(8, 6)}, 18},
		{"history was rewound: from now", []sighting{event(record("a", 50, "b", 0), 3), with2(reply(record("a", 7, "d", -9), 15, 9))}, 24},
		{"without versions: compared by spec", []sighting{event(record("", 0, "b", 0), 3), reply(record("", 0, "b", 0), 15, 9)}, 18},
		{"without versions: renewed", []sighting{event(record("", 0, "b", 0), 3), reply(record("", 0, "b", 4), 15, 5)}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rule := claimRule{unmarkedPause: 2 * time.Second, own: func(*coordinationv1.Lease) bool { return false }}
			got, known := story(tt.seen...).claimableAt(rule)
			if known != (tt.want >= 0) || known && !got.Equal(at(tt.want)) {
				t.Errorf("claimableAt = %v s (known: %v), want %v s", got.Sub(epoch).Seconds(), known, tt.want)
			}
		})
	}
}

// with2 marks a reply as the proof that history was rewound.
func with2(s sighting) sighting { s.rewound = true; return s }

func TestView_ARecordOfOurOwnMayBeClaimedAtOnce(t *testing.T) {
	rule := claimRule{own: func(l *coordinationv1.Lease) bool { return holderOf(l) == "me" }}
	if got, _ := story(event(record("a", 5, "me", 0), 3)).claimableAt(rule); !got.Equal(at(3)) {
		t.Errorf("claimableAt = %v, want when it was seen", got)
	}
}

func TestNextTransitions_StaysWithinWhatTheServerAccepts(t *testing.T) {
	for _, tt := range []struct{ before, want int32 }{{0, 1}, {7, 8}, {-3, 0}, {math.MaxInt32 - 1, math.MaxInt32}, {math.MaxInt32, 0}} {
		lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{LeaseTransitions: &tt.before}}
		if got := nextTransitions(lease); got != tt.want {
			t.Errorf("nextTransitions(%d) = %d, want %d", tt.before, got, tt.want)
		}
	}
}
