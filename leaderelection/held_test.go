package leaderelection

import (
	"errors"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
)

func TestHeld_JudgesWhatItSees(t *testing.T) {
	own := held{identity: "me", lease: record("a", 50, "me", 10), version: 50, write: write{renewed: at(10).UnixMicro()}, answered: 20}
	open := openWrites{
		{kind: renewing, renewed: at(12).UnixMicro(), base: 50},
		{kind: releasing, renewed: at(13).UnixMicro(), base: 50},
	}
	unversioned := own
	unversioned.lease, unversioned.version = record("a", 0, "me", 10), 0
	for _, tt := range []struct {
		name  string
		held  held
		seen  sighting
		cause error
		prove float64 // the renewTime that is proven, 0: none
		adopt bool
	}{
		{"its own record", own, event(record("a", 50, "me", 10), 0), nil, 0, false},
		{"an older one of its own", own, event(record("a", 49, "me", 8), 0), nil, 0, false},
		{"an older one of somebody else", own, event(record("a", 49, "you", 8), 0), nil, 0, false},
		{"another holder", own, event(record("a", 51, "you", 11), 0), ErrOvertaken, 0, false},
		{"our name, another's write", own, event(record("a", 51, "me", 11), 0), ErrOvertaken, 0, false},
		{"wiped by a stale leader", own, event(record("a", 51, "", 11), 0), ErrOvertaken, 0, false},
		{"another UID", own, event(record("b", 51, "me", 10), 0), ErrLeaseDeleted, 0, false},
		{"deleted after our write", own, deletion(51, 0), ErrLeaseDeleted, 0, false},
		{"deleted before our write", own, deletion(40, 0), nil, 0, false},
		{"deleted, nobody says when", own, sighting{}, nil, 0, false},
		{"gone, asked after our write was answered", own, reply(nil, 21, 0), ErrLeaseDeleted, 0, false},
		{"gone, asked before", own, reply(nil, 19, 0), nil, 0, false},
		{"metadata edited", own, event(record("a", 51, "me", 10), 0), nil, 0, true},
		{"the duration edited", own, event(with(record("a", 51, "me", 10), seconds(60)), 0), nil, 0, true},
		{"a renewal whose reply was lost", own, event(record("a", 51, "me", 12), 0), nil, 12, true},
		{"a release whose reply was lost", own, event(record("a", 51, "", 13), 0), nil, 13, true},
		{"history rewound", own, with2(reply(record("a", 7, "me", 8), 21, 0)), ErrHistoryRewound, 0, false},
		{"no versions: an event is an echo", unversioned, event(record("a", 0, "you", 11), 0), nil, 0, false},
		{"no versions: a read sent after our write", unversioned, reply(record("a", 0, "you", 11), 21, 0), ErrOvertaken, 0, false},
		{"no versions: a read sent before", unversioned, reply(record("a", 0, "you", 11), 19, 0), nil, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.held.judge(tt.seen, open)
			if !errors.Is(got.cause, tt.cause) {
				t.Errorf("cause = %v, want %v", got.cause, tt.cause)
			}
			if proven := got.proven != nil; proven != (tt.prove != 0) || proven && got.proven.renewed != at(tt.prove).UnixMicro() {
				t.Errorf("proven = %+v, want the write of %v s", got.proven, tt.prove)
			}
			if adopted := got.adopt != nil; adopted != tt.adopt {
				t.Errorf("adopt = %v, want %v", adopted, tt.adopt)
			}
		})
	}
}

// Whatever others write, nothing panics, and a foreign holder that is newer than
// our last write always ends the term.
func FuzzHeld_NoForeignHolderIsOverlooked(f *testing.F) {
	f.Add("you", "51", int32(15), int32(1), int64(0), true)
	f.Add("", "x", int32(-1), int32(-1), int64(-1), false)
	f.Add("me", "99999999999999999999999", int32(1<<31-1), int32(1<<31-1), int64(1<<62), true)
	f.Fuzz(func(t *testing.T, holder, version string, duration, transitions int32, renewed int64, fields bool) {
		lease := record("a", 0, holder, float64(renewed%1e9))
		lease.ResourceVersion = version
		if fields {
			lease.Spec.LeaseDurationSeconds, lease.Spec.LeaseTransitions = &duration, &transitions
		} else {
			lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder}
		}
		own := held{identity: "me", lease: record("a", 50, "me", 10), version: 50, write: write{renewed: at(10).UnixMicro()}, answered: 20}
		s := reply(lease, 21, 1)
		verdict := own.judge(s, nil)
		if foreign := holder != "me" && s.version > 50; foreign && verdict.cause == nil {
			t.Errorf("holder %q at version %s was overlooked", holder, version)
		}
		v, _ := view{fallback: 15e9}.after(s, 30, false)
		if until := v.heldUntil(); holder != "" && !until.After(v.since) {
			t.Errorf("a held Lease is claimable at once: %v", until)
		}
		_ = draft{holder: "me"}.apply(lease)
		_, _ = v.claimableAt(claimRule{own: func(*coordinationv1.Lease) bool { return false }})
	})
}
