package lease

import (
	"encoding/json"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FuzzState_AnyLease calls the functions of this package with a Lease that has any
// content. No function may panic. If another candidate holds the Lease, the Lease must
// not be claimable at once. A write must keep the UID and the resourceVersion of the
// Lease. The annotations of the written Lease must be readable.
func FuzzState_AnyLease(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"name":"app","uid":"a","resourceVersion":"51"},"spec":{"holderIdentity":"you","leaseDurationSeconds":15,"renewTime":"2026-01-01T00:00:00.000000Z"}}`,
		`{"metadata":{"uid":"b","resourceVersion":"99999999999999999999"},"spec":{"holderIdentity":"you","leaseDurationSeconds":-2147483648,"leaseTransitions":2147483647}}`,
		`{"metadata":{"resourceVersion":"-1"},"spec":{}}`,
		`{"metadata":{"uid":"a","resourceVersion":"0x10","annotations":null,"labels":null},"spec":{"holderIdentity":"","acquireTime":null,"renewTime":null}}`,
		`{"metadata":{"uid":"a","resourceVersion":"52","annotations":{"` + ReleasedAnnotation + `":"0","` + SuccessorAnnotation + `":"0 0 0 you"}},"spec":{"renewTime":"0001-01-01T00:00:00.000000Z","acquireTime":"1970-01-01T00:00:00.000000Z"}}`,
		`{"metadata":{"uid":"a","resourceVersion":"53"},"spec":{"holderIdentity":"me","leaseDurationSeconds":2147483647,"strategy":"Unknown","preferredHolder":"you"}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lease := &coordinationv1.Lease{}
		if json.Unmarshal(text, lease) != nil {
			return
		}
		rule := ClaimRule{ForeignReleaseDelay: 2 * time.Second, Own: func(*coordinationv1.Lease) bool { return false }}
		v := observed(event(record("a", 50, "you", 10), 1), event(lease, 2))
		when, known := v.ClaimableAt(rule)
		if !known || when.Before(v.Since) {
			t.Errorf("claimable at %v, observed at %v", when, v.Since)
		}
		if v.Holder() != "" && !when.After(v.Since) {
			t.Errorf("%q holds the Lease, and it may be claimed at once", v.Holder())
		}
		v.Successor()
		v.MayNominate(Nomination{Identity: "me"}, time.Second)
		Held{Identity: "me", Lease: record("a", 50, "me", 10), Version: 50}.Evaluate(event(lease, 2), nil)

		renewed := at(30)
		claim := Draft{Holder: "me", Seconds: 15, Acquired: renewed, Renewed: renewed, Transitions: NextTransitions(lease)}.Apply(lease)
		if claim.UID != lease.UID || claim.ResourceVersion != lease.ResourceVersion {
			t.Errorf("the write is tied to %q@%q, not to %q@%q", claim.UID, claim.ResourceVersion, lease.UID, lease.ResourceVersion)
		}
		if h, ok := NominationOf(claim); !ok || h.Identity != "" || IsReleased(claim) {
			t.Errorf("after a claim: successor %+v (%t), released %t; want nobody, and not released", h, ok, IsReleased(claim))
		}
		release := Draft{Seconds: 1, Acquired: renewed, Renewed: renewed.Add(time.Second)}.Apply(claim)
		if !IsReleased(release) {
			t.Error("a release is not recognized")
		}
		if *claim.Spec.LeaseTransitions < 0 {
			t.Errorf("transitions = %d: the API server refuses a negative number", *claim.Spec.LeaseTransitions)
		}
	})
}

// FuzzNomination_AnyAnnotation calls NominationOf with any value of
// SuccessorAnnotation. Encoding and decoding must not change a nomination. Of two
// nominations, at most one may precede the other.
func FuzzNomination_AnyAnnotation(f *testing.F) {
	acquired := at(10).UnixMicro()
	f.Add(Nomination{"you", 1, 2}.Encode(acquired))
	f.Add(Nomination{"", 0, 0}.Encode(acquired))
	f.Add(Nomination{"you and me", -1 << 31, -1 << 63}.Encode(acquired))
	f.Add(Nomination{"you", 1, 2}.Encode(acquired + 1))
	f.Add("")
	f.Add("1767225610000000 99999999999 1 you")
	f.Add("1767225610000000 +1 1 you")
	f.Fuzz(func(t *testing.T, text string) {
		lease := record("a", 50, "leader", 10)
		lease.Spec.AcquireTime = &metav1.MicroTime{Time: at(10)}
		lease.Annotations = map[string]string{SuccessorAnnotation: text}
		h, ok := NominationOf(lease)
		if !ok {
			return
		}
		lease.Annotations[SuccessorAnnotation] = h.Encode(acquired)
		if again, ok := NominationOf(lease); !ok || again != h {
			t.Errorf("%q decodes to %+v, and encoded again to %+v", text, h, again)
		}
		me := Nomination{Identity: "me", Priority: 1, Started: 2}
		if h.Identity != "" && h.Precedes(me, 0) && me.Precedes(h, 0) {
			t.Errorf("%+v and %+v: each precedes the other", h, me)
		}
		observed(event(lease, 1)).MayNominate(me, time.Second)
	})
}
