package lease

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func sec(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }

// claimed returns a copy of the parameter before, after a claim by holder. The
// parameter second is the time of the claim, in seconds since noon.
func claimed(before *coordinationv1.Lease, holder string, second int) *coordinationv1.Lease {
	lease := before.DeepCopy()
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[TermsAnnotation] = encodeHistory(before, Draft{Holder: holder, Acquired: sec(second)})
	return held(lease, holder, second)
}

// held returns a copy of the parameter before, after a claim by a client-go candidate.
// Such a claim sets no annotations.
func held(before *coordinationv1.Lease, holder string, second int) *coordinationv1.Lease {
	lease := before.DeepCopy()
	now := metav1.NewMicroTime(sec(second))
	lease.Spec = coordinationv1.LeaseSpec{HolderIdentity: &holder, AcquireTime: &now, RenewTime: &now}
	return lease
}

func renewed(before *coordinationv1.Lease, second int) *coordinationv1.Lease {
	lease := before.DeepCopy()
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(sec(second)))
	return lease
}

func released(before *coordinationv1.Lease, second int) *coordinationv1.Lease {
	lease := renewed(before, second)
	lease.Spec.HolderIdentity = ptr.To("")
	lease.Annotations[ReleasedAnnotation] = strconv.FormatInt(sec(second).UnixMicro(), 10)
	return lease
}

// summary returns one line for each term. The line contains the holder, the times of
// the claim and of the last renewal in seconds since noon, and the end.
func summary(terms []Term) (all []string) {
	for _, t := range terms {
		line := t.Holder + " " + strconv.Itoa(int(t.Acquired.Sub(noon)/time.Second))
		if t.Renewed != nil {
			line += "-" + strconv.Itoa(int(t.Renewed.Sub(noon)/time.Second))
		}
		all = append(all, strings.TrimSpace(line+" "+t.End))
	}
	return all
}

func TestHistory_ReportsHowTermsEnded(t *testing.T) {
	fresh := &coordinationv1.Lease{}
	a := claimed(fresh, "a", 1)
	b := claimed(released(renewed(a, 5), 6), "b", 7)
	foreign := held(renewed(b, 9), "client-go", 30)
	emptied := held(renewed(foreign, 33), "", 34) // held also sets acquireTime, as client-go does when it releases a Lease
	for name, tc := range map[string]struct {
		lease *coordinationv1.Lease
		want  []string
	}{
		"never held":                         {fresh, nil},
		"the first":                          {renewed(a, 3), []string{"a 1"}},
		"released":                           {released(a, 6), []string{"a 1-6 released"}},
		"emptied by hand":                    {func() *coordinationv1.Lease { l := renewed(a, 4); l.Spec.HolderIdentity = nil; return l }(), []string{"a 1-4 unannotated"}},
		"the second":                         {b, []string{"a 1-6 released", "b 7"}},
		"a foreign holder leads":             {foreign, []string{"a 1-6 released", "b 7", "client-go 30"}},
		"a foreign holder has released":      {emptied, []string{"a 1-6 released", "b 7"}},
		"claimed after a foreign holder":     {claimed(renewed(foreign, 33), "c", 60), []string{"a 1-6 released", "b 7", "client-go 30-33 expired", "c 60"}},
		"claimed after a crash":              {claimed(renewed(b, 9), "c", 60), []string{"a 1-6 released", "b 7-9 expired", "c 60"}},
		"the same name again":                {claimed(renewed(a, 3), "a", 60), []string{"a 1-3 expired", "a 60"}},
		"another holder was written over it": {func() *coordinationv1.Lease { l := a.DeepCopy(); l.Spec.HolderIdentity = ptr.To("x"); return l }(), []string{"a 1", "x 1"}},
		"the annotation was removed":         {func() *coordinationv1.Lease { l := b.DeepCopy(); l.Annotations = nil; return l }(), []string{"b 7"}},
	} {
		if diff := cmp.Diff(tc.want, summary(History(tc.lease))); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

func TestEncodeHistory_StaysShort(t *testing.T) {
	lease, longest := &coordinationv1.Lease{}, 0
	for i := range 1000 {
		lease = claimed(lease, strings.Repeat("名", 1000)+strconv.Itoa(i), i)
		longest = max(longest, len(lease.Annotations[TermsAnnotation]))
	}
	if terms := History(lease); len(terms) != maxTerms || !terms[maxTerms-1].Acquired.Time.Equal(sec(999)) {
		t.Errorf("%d terms, the last of %v", len(terms), terms[len(terms)-1].Acquired)
	}
	if limit := maxTerms * (maxIdentity + 150); longest > limit {
		t.Errorf("it grew to %d bytes, want at most %d", longest, limit)
	}
}

func TestHasRoom_StaysBelowTheLimitOfTheServer(t *testing.T) {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{TermsAnnotation: strings.Repeat("x", 250*1024)}}}
	if !HasRoom(lease) {
		t.Error("the history counts against its own room")
	}
	lease.Annotations["x"] = strings.Repeat("x", 201*1024)
	if HasRoom(lease) {
		t.Error("a full Lease has room")
	}
}

func TestHistory_IgnoresInvalidEntries(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []string
	}{
		{`null`, nil},
		{`{}`, nil},
		{`[`, nil},
		{`[1, "x", null, {}, {"holder":"a"}, {"acquired":"2026-01-02T12:00:03Z"}]`, nil},
		{`[{"holder":"a","acquired":"2026-01-02T12:00:03.000000Z","renewed":"never"}]`, nil},
		{`[{"holder":"a","acquired":"0001-01-02T12:00:03.000000Z"}]`, nil},
		{`[7,{"holder":"a","acquired":"2026-01-02T12:00:03.000000Z","end":"unheard-of"}]`, []string{"a 3"}},
		{`[{"holder":"a","acquired":"2026-01-02T12:00:03.000000Z","renewed":"2026-01-02T12:00:04.000000Z","end":"expired"}]`, []string{"a 3-4 expired"}},
		{strings.Repeat(" ", maxHistory) + `[{"holder":"a","acquired":"2026-01-02T12:00:03.000000Z"}]`, nil},
	} {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{TermsAnnotation: tc.text}}}
		if diff := cmp.Diff(tc.want, summary(History(lease))); diff != "" {
			t.Errorf("%.100s: -want +got:\n%s", tc.text, diff)
		}
	}
}

// FuzzHistory_AnyAnnotation claims a Lease that has any value of TermsAnnotation. The
// claim must write a short and valid history. The last entry of this history must be
// the claim.
func FuzzHistory_AnyAnnotation(f *testing.F) {
	f.Add(`[{"holder":"a","acquired":"2026-01-02T12:00:03.000000Z"}]`, "b", int64(1767355203000000), int64(1767355204000000), "c")
	f.Add(`[[[]]]`, "", int64(-1<<63), int64(1<<63-1), "\xff\n\x1b[2J")
	f.Fuzz(func(t *testing.T, text, before string, acquired, renewed int64, holder string) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{TermsAnnotation: text}}}
		lease.Spec.HolderIdentity = &before
		lease.Spec.AcquireTime = ptr.To(metav1.NewMicroTime(time.UnixMicro(acquired)))
		lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.UnixMicro(renewed)))
		written := encodeHistory(lease, Draft{Holder: "x" + holder, Acquired: noon})
		if limit := maxTerms * (6*maxIdentity + 150); len(written) > limit {
			t.Errorf("%d bytes, want at most %d", len(written), limit)
		}
		var terms []Term
		if err := json.Unmarshal([]byte(written), &terms); err != nil {
			t.Fatal(err)
		}
		if len(terms) == 0 || len(terms) > maxTerms || terms[len(terms)-1].Acquired.UnixMicro() != noon.UnixMicro() {
			t.Fatalf("%v, want the claim at the end", terms)
		}
		again := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{TermsAnnotation: written}}}
		if diff := cmp.Diff(terms, History(again)); diff != "" {
			t.Errorf("-written +read:\n%s", diff)
		}
	})
}
