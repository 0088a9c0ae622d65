package lease

import (
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

func TestHeld_EvaluatesEachObservation(t *testing.T) {
	own := Held{Identity: "me", Lease: record("a", 50, "me", 10), Version: 50, Write: Write{RenewTime: at(10).UnixMicro()}, ConfirmedSeq: 20}
	unacknowledged := Writes{
		{Kind: Renewal, RenewTime: at(12).UnixMicro(), Base: 50},
		{Kind: Release, RenewTime: at(13).UnixMicro(), Base: 50},
	}
	unversioned := own
	unversioned.Lease, unversioned.Version = record("a", 0, "me", 10), 0
	for _, tt := range []struct {
		name      string
		held      Held
		seen      Observation
		loss      Loss
		confirmed float64 // renewTime of the confirmed write, in seconds since the start of the test; 0 if no write is confirmed
		adopt     bool
	}{
		{"its own record", own, event(record("a", 50, "me", 10), 0), NotLost, 0, false},
		{"an older one of its own", own, event(record("a", 49, "me", 8), 0), NotLost, 0, false},
		{"an older one of somebody else", own, event(record("a", 49, "you", 8), 0), NotLost, 0, false},
		{"another holder", own, event(record("a", 51, "you", 11), 0), Overtaken, 0, false},
		{"our name, another's write", own, event(record("a", 51, "me", 11), 0), Overtaken, 0, false},
		{"wiped by a stale leader", own, event(record("a", 51, "", 11), 0), Overtaken, 0, false},
		{"another UID", own, event(record("b", 51, "me", 10), 0), Deleted, 0, false},
		{"deleted after our write", own, deletion(51, 0), Deleted, 0, false},
		{"deleted before our write", own, deletion(40, 0), NotLost, 0, false},
		{"deleted, without a version", own, Observation{}, NotLost, 0, false},
		{"gone, asked after our write was answered", own, reply(nil, 21, 0), Deleted, 0, false},
		{"gone, asked before", own, reply(nil, 19, 0), NotLost, 0, false},
		{"metadata edited", own, event(record("a", 51, "me", 10), 0), NotLost, 0, true},
		{"the duration edited", own, event(with(record("a", 51, "me", 10), seconds(60)), 0), NotLost, 0, true},
		{"a renewal whose reply was lost", own, event(record("a", 51, "me", 12), 0), NotLost, 12, true},
		{"a release whose reply was lost", own, event(record("a", 51, "", 13), 0), NotLost, 13, true},
		{"history rewound", own, rewound(reply(record("a", 7, "me", 8), 21, 0)), Rewound, 0, false},
		{"no versions: an event is an echo", unversioned, event(record("a", 0, "you", 11), 0), NotLost, 0, false},
		{"no versions: a read sent after our write", unversioned, reply(record("a", 0, "you", 11), 21, 0), Overtaken, 0, false},
		{"no versions: a read sent before", unversioned, reply(record("a", 0, "you", 11), 19, 0), NotLost, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.held.Evaluate(tt.seen, unacknowledged)
			if got.Loss != tt.loss {
				t.Errorf("Loss = %v, want %v", got.Loss, tt.loss)
			}
			if confirmed := got.Confirmed != nil; confirmed != (tt.confirmed != 0) || confirmed && got.Confirmed.RenewTime != at(tt.confirmed).UnixMicro() {
				t.Errorf("Confirmed = %+v, want the write of %v s", got.Confirmed, tt.confirmed)
			}
			if adopted := got.Adopt != nil; adopted != tt.adopt {
				t.Errorf("Adopt = %v, want %v", adopted, tt.adopt)
			}
		})
	}
}

// FuzzHeld_NoForeignHolderIsOverlooked requires that no function panics, whatever a
// Lease contains. If the observed Lease is newer than the last confirmed write and
// names another holder, the term must end.
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
		own := Held{Identity: "me", Lease: record("a", 50, "me", 10), Version: 50, Write: Write{RenewTime: at(10).UnixMicro()}, ConfirmedSeq: 20}
		s := reply(lease, 21, 1)
		outcome := own.Evaluate(s, nil)
		if foreign := holder != "me" && s.Version > 50; foreign && outcome.Loss == NotLost {
			t.Errorf("holder %q at version %s was overlooked", holder, version)
		}
		v, _ := State{OwnDuration: 15e9}.After(s, 30, false)
		if until := v.HeldUntil(); holder != "" && !until.After(v.Since) {
			t.Errorf("a held Lease is claimable at once: %v", until)
		}
		_ = Draft{Holder: "me"}.Apply(lease)
		_, _ = v.ClaimableAt(ClaimRule{Own: func(*coordinationv1.Lease) bool { return false }})
	})
}

// A trust window may start later than its write was sent only if the write was certainly
// applied after that time.
func TestHeld_LaterTrustNeedsAReadBeforeAndAReadAfterTheWrite(t *testing.T) {
	sent := clock.Now()
	read := clock.Now()
	for !read.Time().After(sent.Time()) {
		read = clock.Now()
	}
	write := Write{Kind: Renewal, RenewTime: at(20).UnixMicro(), Base: 50, Seq: 10, Sent: sent}
	claim := Write{Kind: Claim, RenewTime: at(20).UnixMicro(), Seq: 10, Sent: sent, Create: true}
	absent := func(seq uint64) Observation { return Observation{ReadSeq: seq, Sent: read} }
	shows := func(version int, renewed float64, seq uint64) Observation {
		lease := record("a", version, "me", renewed)
		return Observation{Lease: lease, Version: uint64(version), ReadSeq: seq, Sent: read}
	}
	const repliedSeq = 15 // sequence number at which the reply to the first read arrived
	for _, tt := range []struct {
		name          string
		write         Write
		before, after Observation
		want          bool
	}{
		{"pending, then applied", write, shows(50, 10, 12), shows(51, 20, 16), true},
		{"the first read was sent before the write", write, shows(50, 10, 9), shows(51, 20, 16), false},
		{"the first read shows another version", write, shows(49, 10, 12), shows(51, 20, 16), false},
		{"the second read was sent before the first was answered", write, shows(50, 10, 12), shows(51, 20, 14), false},
		{"a watch event or a reply shows the write", write, shows(50, 10, 12), shows(51, 20, 0), false},
		{"the second read shows another write", write, shows(50, 10, 12), shows(51, 30, 16), false},
		{"the second read finds no Lease", write, shows(50, 10, 12), absent(16), false},
		{"a new Lease", claim, absent(12), shows(51, 20, 16), true},
		{"an update does not create the Lease", write, absent(12), shows(51, 20, 16), false},
		{"a server without resourceVersions", Write{RenewTime: write.RenewTime, Seq: 10, Sent: sent}, shows(0, 10, 12), shows(0, 20, 16), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pending := Writes{tt.write}.AfterRead(tt.before, repliedSeq)[0]
			held := Held{Identity: "me", Lease: record("a", 51, "me", 20), Version: 51, Write: pending, TrustFrom: sent}
			if got := held.LaterTrust(tt.after); got != tt.want {
				t.Errorf("LaterTrust = %t, want %t", got, tt.want)
			}
		})
	}
}
