package table

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var (
	a1 = Term{"a", "p", 1}
	a2 = Term{"a", "p", 2}
	b1 = Term{"b", "q", 1}
)

func TestSlab_EncodingKeepsEverything(t *testing.T) {
	s := NewSlab(Layout{70, "x"}, 6, true)
	s.Acked = []Term{a1, b1}
	s.Entries[0] = Entry{a1, b1}
	s.Entries[5] = Entry{Owner: a2}
	got, err := Decode(s.Encode(), 1)
	if diff := cmp.Diff(s, got); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
}

func FuzzDecode_AnySlab(f *testing.F) {
	s := NewSlab(Layout{Shards: 3}, 3, false)
	s.Entries[1] = Entry{a1, b1}
	f.Add(s.Encode(), 0)
	f.Add(`{"shards":1,"open":true,"terms":["a p 1"],"owner":[0]}`, 0)
	f.Add(`{"shards":1,"terms":[],"owner":[7]}`, 0)
	f.Fuzz(func(t *testing.T, text string, n int) {
		s, err := Decode(text, n)
		if err != nil {
			return
		}
		again, err := Decode(s.Encode(), n)
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("%v, -want +got:\n%s", err, diff)
		}
	})
}

func TestSlab_OnlyTheOwnerHandsOver(t *testing.T) {
	s := NewSlab(Layout{Shards: 1}, 1, true)
	if s.Grant(0, a1, false) == nil {
		t.Error("a closed slab was granted")
	}
	if s.MayOpen([]Term{a1, b1}, true) || !s.NeedsAck(a1) || s.Ack(a1) != nil || s.Ack(b1) != nil || !s.MayOpen([]Term{a1, b1}, false) {
		t.Fatal("a slab opens without or not with all acknowledgements")
	}
	s.OpenUp()
	if err := s.Grant(0, a1, false); err != nil || s.Duty(a1, 0) != Serve || s.Duty(a2, 0) != Rest {
		t.Fatalf("%v, duties %v and %v", err, s.Duty(a1, 0), s.Duty(a2, 0))
	}
	if s.HandOver(a1, 0) == nil {
		t.Error("an entry without a next owner was handed over")
	}
	if err := s.Move(0, b1); err != nil || s.Duty(a1, 0) != Drain || s.Duty(b1, 0) != Rest {
		t.Fatalf("%v, duties %v and %v", err, s.Duty(a1, 0), s.Duty(b1, 0))
	}
	if s.Grant(0, b1, false) == nil || s.HandOver(b1, 0) == nil {
		t.Error("another process took the shard")
	}
	if err := s.HandOver(a1, 0); err != nil || s.Duty(b1, 0) != Serve || s.Duty(a1, 0) != Rest {
		t.Errorf("%v, duties %v and %v", err, s.Duty(a1, 0), s.Duty(b1, 0))
	}
	if err := s.Grant(0, a2, true); err != nil || s.Duty(a2, 0) != Serve {
		t.Errorf("%v: the shard of an ended term was not granted", err)
	}
	if s.Open = false; s.Duty(a2, 0) != Rest {
		t.Error("a closed slab has an owner")
	}
	if closed := NewSlab(Layout{Shards: 1}, 1, false); closed.MayOpen(nil, false) || !closed.MayOpen(nil, true) {
		t.Error("a slab that replaces another slab opens without a wait, or not after it")
	}
}

func memberLease(holder, process string, acquired int64, annotations map[string]string) *coordinationv1.Lease {
	at := metav1.NewMicroTime(time.UnixMicro(acquired))
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{ProcessLabel: process}, Annotations: annotations},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, AcquireTime: &at, RenewTime: &at},
	}
}

func TestOver_NeedsAProof(t *testing.T) {
	const released = "incumbent.haproxy-template-ic.github.io/released"
	const terms = "incumbent.haproxy-template-ic.github.io/terms"
	for name, tc := range map[string]struct {
		lease        *coordinationv1.Lease
		over, waited bool
	}{
		"it holds the Lease":          {memberLease("a", "p", 1, nil), false, false},
		"the Lease is gone":           {nil, false, true},
		"emptied by hand":             {memberLease("", "p", 1, nil), false, true},
		"another holder by hand":      {memberLease("x", "p", 1, nil), false, true},
		"released":                    {memberLease("", "p", 1, map[string]string{released: "1"}), true, true},
		"sealed":                      {memberLease("", "p", 1, map[string]string{SealedAnnotation: a1.String()}), true, true},
		"a later term of the process": {memberLease("a", "p", 2, nil), true, true},
		"an earlier term":             {memberLease("a", "p", 0, nil), false, true},
		"another process":             {memberLease("a", "r", 2, nil), false, true},
		"another process, after it expired": {memberLease("a", "r", 2, map[string]string{
			terms: `[{"holder":"a","acquired":"1970-01-01T00:00:00.000001Z","end":"expired"},{"holder":"a","acquired":"1970-01-01T00:00:00.000002Z"}]`}), true, true},
	} {
		m := MemberLeaseOf("a", tc.lease)
		if over, waited := m.Over(a1, false), m.Over(a1, true); over != tc.over || waited != tc.waited {
			t.Errorf("%s: over %t, after the wait %t, want %t and %t", name, over, waited, tc.over, tc.waited)
		}
	}
}

func TestLayout_SpreadsSimilarKeys(t *testing.T) {
	layout := NewLayout(16, nil)
	counts := make([]int, 16)
	for i := range 16000 {
		counts[layout.ShardOf("tenant-"+time.Duration(i).String())]++
	}
	for shard, n := range counts {
		if n < 850 || n > 1150 {
			t.Errorf("shard %d has %d of 16000 keys, want about 1000", shard, n)
		}
	}
	if l := NewLayout(130, nil); l.Slabs() != 3 || l.Entries(2) != 2 || l.Entries(3) != 0 {
		t.Errorf("%d slabs, the last with %d entries", l.Slabs(), l.Entries(2))
	}
	if NewLayout(0, []string{"a", "b"}) == NewLayout(0, []string{"a", "c"}) {
		t.Error("other names, the same layout")
	}
}
