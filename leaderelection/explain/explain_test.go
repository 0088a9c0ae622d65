package explain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(second float64) time.Time { return noon.Add(time.Duration(second * float64(time.Second))) }

// lease is one of client-go's, with a LeaseDuration of 15 s.
func lease(holder string, acquired, renewed float64) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "1"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: new(int32(15)),
			AcquireTime: new(metav1.NewMicroTime(at(acquired))), RenewTime: new(metav1.NewMicroTime(at(renewed))),
		},
	}
}

type look struct {
	lease *coordinationv1.Lease
	at    float64
}

func explained(now float64, looks ...look) explain.Answer {
	var seen explain.Seen
	for _, l := range looks {
		seen = seen.After(l.lease, at(l.at))
	}
	return explain.Explain(seen, at(now))
}

func TestExplain_StateAndEarliestClaim(t *testing.T) {
	deleted := []look{{lease("a", 0, 0), 0}, {lease("a", 0, 2), 2}, {nil, 5}}
	renewed := lease("a", 0, 4)
	overdue := []look{{lease("a", 0, 2), 3}, {renewed, 4.5}, {renewed, 15}}
	for _, tc := range []struct {
		name    string
		now     float64
		looks   []look
		state   explain.State
		certain bool
		claim   float64
		why     string
	}{
		{"no Lease", 1, []look{{nil, 0}}, explain.Absent, true, 0, "there is no Lease"},
		{"never held", 1, []look{{&coordinationv1.Lease{}, 0}}, explain.Unused, true, 0, "nobody has ever held it"},
		{"the first look", 3, []look{{lease("a", 0, 2), 3}}, explain.Led, false, 17, ""},
		{"a renewal was seen", 5, []look{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}, explain.Led, true, 19.5, ""},
		{"a renewal is overdue", 15, overdue, explain.Late, true, 19.5, "has not renewed for 10.5s of 15s"},
		{"overdue when it was heard of last", 19.6, overdue, explain.Late, true, 19.5, "has not renewed for 10.5s of 15s"},
		{"expired under our eyes", 20, append(overdue, look{renewed, 20}), explain.Expired, true, 19.5, "longer than its LeaseDuration (15s)"},
		{"expired by its own clock", 100, []look{{lease("a", 0, 2), 100}}, explain.Expired, false, 17, "to be certain watch for 15s"},
		{"expired, and watched for long", 115, []look{{lease("a", 0, 2), 100}, {lease("a", 0, 2), 115}}, explain.Expired, true, 17, "a has not renewed"},
		{"a clock that is behind", 102, []look{{lease("a", 0, 2), 100}, {lease("a", 0, 4), 102}}, explain.Led, true, 117, ""},
		{"a clock that is hardly ahead", 2, []look{{lease("a", 2, 2), 1}}, explain.Led, false, 16, ""},
		{"a clock that is ahead, and a renewal was seen", 4, []look{{lease("a", 3600, 3600), 1}, {lease("a", 3600, 3602), 3}}, explain.Led, true, 18, ""},
		{"freed by client-go", 9, []look{{lease("a", 0, 4), 4}, {lease("", 5, 5), 5}}, explain.Free, true, 5, "has released it"},
		{"deleted while it was held", 6, deleted, explain.Absent, true, 17, "the Lease was deleted"},
	} {
		a := explained(tc.now, tc.looks...)
		if a.State != tc.state || a.Certain != tc.certain || !strings.Contains(a.Why, tc.why) || (a.Why == "") != (tc.why == "") {
			t.Errorf("%s: state %s, certain %v, why %q", tc.name, a.State, a.Certain, a.Why)
		}
		if a.Claim == nil || !a.Claim.From.Equal(at(tc.claim)) {
			t.Errorf("%s: claimable %+v, want from %v on", tc.name, a.Claim, at(tc.claim))
		}
	}
	if a := explained(1); a.State != explain.Unknown || a.Claim != nil || a.Nobody() {
		t.Errorf("nothing was seen: %+v", a)
	}
}

// A dead holder's Lease looks the same for as long as his clock was ahead, or for ever
// if he wrote no time at all.
func TestExplain_DoesNotCallAliveWhomNothingShowsAlive(t *testing.T) {
	silent := lease("a", 0, 0)
	silent.Spec = coordinationv1.LeaseSpec{HolderIdentity: new("a")}
	for name, l := range map[string]*coordinationv1.Lease{
		"ahead": lease("a", 1800, 1802), "a little ahead": lease("a", 0, 1.1), "nothing but a holder": silent,
	} {
		a := explained(2.5, look{l, 0}, look{l, 2.5})
		if a.State != explain.Held || a.Certain || a.Nobody() || a.Claim != nil || !strings.Contains(a.Why, "to be certain watch for 15s") {
			t.Errorf("%s: %+v", name, a)
		}
		if a.Renewal.AgeSeconds != nil || a.Renewal.UnchangedSeconds != 2.5 {
			t.Errorf("%s: the renewal is %+v", name, a.Renewal)
		}
		text := a.String()
		for _, want := range []string{"State      a holds it, and whether it leads is not known\n", "Renewed    not known; not changed for at least 2.5s, lives for 15s without\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: it lacks %q:\n%s", name, want, text)
			}
		}
		if a := explained(12, look{l, 0}, look{l, 12}); a.State != explain.Held || a.Certain {
			t.Errorf("%s, watched for 12 s: %+v", name, a)
		}
		if a := explained(15, look{l, 0}, look{l, 15}); a.State != explain.Expired || !a.Certain || a.Claim == nil || a.Renewal.AgeSeconds != nil {
			t.Errorf("%s, watched for 15 s: %+v", name, a)
		}
	}
}

// Who leads by the Lease need not be the only one at work.
func TestExplain_SaysThatTwoMayBeAtWork(t *testing.T) {
	remade, emptied, told := lease("b", 3, 3), lease("", 3, 3), lease("b", 3, 3)
	remade.UID = "2"
	told.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/terms": `[{"holder":"a","acquired":"2026-01-02T12:00:00.000000Z","end":"released"}]`}
	expired := told.DeepCopy()
	expired.Annotations["incumbent.haproxy-template-ic.github.io/terms"] = strings.Replace(told.Annotations["incumbent.haproxy-template-ic.github.io/terms"], "released", "expired", 1)
	a, b := []look{{lease("a", 0, 0), 0}, {lease("a", 0, 2), 2}}, lease("b", 3, 3)
	const want = "a was not seen to release it and may be at work until 2026-01-02 12:00:17Z"
	for _, tc := range []struct {
		name  string
		note  bool
		now   float64
		looks []look
	}{
		{"b is written over it", true, 3, append(a, look{b, 3})},
		{"b is written over it, and its own history says that a has expired", true, 3, append(a, look{expired, 3})},
		{"it was deleted", true, 3, append(a, look{nil, 3})},
		{"it was deleted, and b makes it", true, 4, append(a, look{nil, 3}, look{remade, 4})},
		{"it was deleted and made by b unseen", true, 4, append(a, look{remade, 4})},
		{"b has left again", true, 4, append(a, look{b, 3}, look{emptied, 4})},
		{"a has released it", false, 4, append(a, look{emptied, 3}, look{b, 4})},
		{"a has released it, as the Lease says", false, 4, append(a, look{told, 4})},
		{"a's time has run out since", false, 17, append(a, look{b, 3}, look{b, 17})},
		{"a had expired", false, 18, append(a, look{b, 18})},
		{"a had expired by its own clock", false, 102, []look{{lease("a", 0, 2), 100}, {lease("b", 101, 101), 101}}},
	} {
		notes := strings.Join(explained(tc.now, tc.looks...).Notes, "\n")
		if strings.Contains(notes, want) != tc.note || strings.Contains(notes, "at work") != tc.note {
			t.Errorf("%s: the notes are %q", tc.name, notes)
		}
	}
	if notes := explained(4, append(a, look{b, 3}, look{lease("a", 4, 4), 4})...).Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "b was not seen") {
		t.Errorf("a is back: the notes are %q", notes)
	}
	before, after := explained(2, a...), explained(3, append(a, look{b, 3})...)
	if update := after.Update(before); !strings.Contains(update, want) {
		t.Errorf("the update does not say so:\n%s", update)
	}
	later := explained(18, append(a, look{b, 3}, look{lease("b", 3, 17), 17})...)
	if update := later.Update(after); !strings.Contains(update, "No longer  "+want) {
		t.Errorf("the update does not take it back:\n%s", update)
	}
	after.Notes, after.At = []string{"as it was read from elsewhere"}, at(5)
	if update := after.Update(before); !strings.Contains(update, "elsewhere") {
		t.Errorf("an answer with another's notes:\n%s", update)
	}
}

func TestExplain_NamesTheHeirWhoMayClaim(t *testing.T) {
	released := lease("", 0, 0)
	released.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/released":  "1767355200000000",
	}
	if text := explained(1, look{released, 1}).String(); !strings.Contains(text, "by the heir, pod-2; the others hesitate") {
		t.Errorf("it says:\n%s", text)
	}
}

func TestExplain_KnowsThatADeletedLeaseWasThere(t *testing.T) {
	for _, looks := range [][]look{
		{{lease("a", 0, 0), 0}, {nil, 5}}, {{lease("a", 0, 0), 0}, {nil, 5}, {nil, 7}}, {{lease("", 0, 0), 0}, {nil, 5}},
	} {
		if a := explained(7, looks...); !strings.HasPrefix(a.Why, "the Lease was deleted, at 2026-01-02 12:00:05Z or shortly before") {
			t.Errorf("it says %q", a.Why)
		}
	}
	if a := explained(7, look{nil, 0}, look{lease("a", 0, 0), 1}, look{nil, 5}); !strings.Contains(a.Why, "was deleted") {
		t.Errorf("it says %q", a.Why)
	}
}

// A sentence is read to its end, however long the name in it is.
func TestExplain_ANameLeavesRoomForTheReason(t *testing.T) {
	for name, holder := range map[string]string{"long": strings.Repeat("a", 1500), "odd": strings.Repeat("\x00\U0001f600", 300)} {
		a := explained(20, look{lease(holder, 0, 2), 2}, look{lease(holder, 0, 4), 4}, look{lease(holder, 0, 4), 20})
		if text := a.String(); !strings.Contains(text, "or none may update the Lease or reach the API server") || a.Leader != holder {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	whole := "pod-" + strings.Repeat("a", 249) + "_01234567-89ab-cdef-0123-456789abcdef"
	if text := explained(1, look{lease(whole, 0, 0), 1}).String(); !strings.Contains(text, whole+" leads") {
		t.Errorf("a Pod's name and a UUID are cut:\n%s", text)
	}
}

// Silence says nothing of the Lease: its leader may renew it, and nothing reaches us.
func TestExplain_WithoutContactNothingIsCertain(t *testing.T) {
	looks := []look{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}
	if a := explained(9.4, looks...); a.Lost || !a.Certain {
		t.Errorf("after a short silence: %+v", a)
	}
	for name, seen := range map[string][]look{
		"held": looks, "free": {{lease("", 0, 2), 4.5}}, "absent": {{nil, 4.5}}, "expired": {{lease("a", -60, -60), -14}, {lease("a", -60, -60), 4.5}},
	} {
		before, a := explained(4.5, seen...), explained(100, seen...)
		if a.State != before.State || a.Certain || !a.Lost || a.Claim != nil || !strings.Contains(a.Why, "not heard of for 1m36s, since 2026-01-02 12:00:04Z") {
			t.Errorf("%s: %+v", name, a)
		}
		if a.Renewal != nil && *a.Renewal.AgeSeconds != *before.Renewal.AgeSeconds {
			t.Errorf("%s: the age grew to %v s without contact", name, *a.Renewal.AgeSeconds)
		}
		if text := a.String(); !strings.Contains(text, "State      not heard of since 2026-01-02 12:00:04Z; then: "+before.Summary()) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestExplain_AfterContactWasLostItStartsAfresh(t *testing.T) {
	looks := []look{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 5}, {lease("a", 0, 6), 7}, {lease("a", 0, 98), 100}}
	a := explained(101, looks...)
	if a.State != explain.Led || a.Certain || a.Lost || *a.Renewal.AgeSeconds != 2 || a.Renewal.EverySeconds != 2 {
		t.Errorf("a renewal at an unknown time: %+v, %+v", a, a.Renewal)
	}
	if a := explained(103, append(looks, look{lease("a", 0, 100), 102})...); !a.Certain || a.Renewal.EverySeconds != 2 {
		t.Errorf("the next one: %+v, %+v", a, a.Renewal)
	}
	if a := explained(101, append(looks[:3:3], look{lease("a", 0, 6), 100})...); a.State != explain.Expired || !a.Certain || *a.Renewal.AgeSeconds != 93 {
		t.Errorf("no renewal in all that time: %+v, %+v", a, a.Renewal)
	}
}

// An answer says how it was when it was asked for, or later.
func TestSeen_AReadTellsOfTheTimeWhenItWasSent(t *testing.T) {
	renewed := lease("a", 0, 4)
	seen := explain.Seen{}.After(lease("a", 0, 2), at(3)).After(renewed, at(4)).AfterRead(renewed, at(18.9), at(21))
	if a := explain.Explain(seen, at(21)); a.State != explain.Late || *a.Renewal.AgeSeconds != 14.9 {
		t.Errorf("%+v, %+v", a, a.Renewal)
	}
}

// What is not certain is not history, and nobody's term ends with another's lapse.
func TestExplain_ALapseEndsItsOwnTermOnly(t *testing.T) {
	terms := func(l *coordinationv1.Lease, now float64) string {
		l.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/terms": `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","end":"released"}]`}
		a := explained(now, look{l, 100}, look{l, now})
		if a.State != explain.Expired {
			t.Errorf("the state is %s", a.State)
		}
		var ends []string
		for _, term := range a.Terms {
			ends = append(ends, term.Leader+" "+term.End)
		}
		return strings.Join(ends, ", ")
	}
	without := lease("a", 0, 2)
	without.Spec.AcquireTime = nil
	for _, tc := range []struct{ name, got, want string }{
		{"certain", terms(lease("a", 0, 2), 115), "pod-0 released, a expired"},
		{"by its own clock", terms(lease("a", 0, 2), 101), "pod-0 released, a "},
		{"without acquireTime", terms(without, 115), "pod-0 released"},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, tc.got, tc.want)
		}
	}
}

func TestExplain_SaysWhoMayClaimALapsedLease(t *testing.T) {
	a := explained(200, look{lease("a", 0, 2), 100}, look{lease("a", 0, 2), 200})
	if want := "one that starts now waits for that long first"; !strings.Contains(a.Claim.Note, want) || !strings.Contains(a.Claim.Note, "watched it for 15s") {
		t.Errorf("%q, want it to say %q", a.Claim.Note, want)
	}
}

func TestExplain_NotesWrongClocks(t *testing.T) {
	for _, tc := range []struct {
		name  string
		want  string
		looks []look
	}{
		{"ahead at the first look", "renewTime was 1h0m0s ahead", []look{{lease("a", 3600, 3600), 0}}},
		{"ahead, and a renewal was seen", "renewTime was 1h0m0s ahead", []look{{lease("a", 3600, 3600), 0}, {lease("a", 3600, 3602), 2}}},
		{"behind, and a renewal was seen", "renewTime was already 1h0m0s old", []look{{lease("a", -3600, -3600), 0}, {lease("a", -3600, -3598), 2}}},
		{"only the acquireTime is ahead", "acquireTime was 59m58s ahead", []look{{lease("a", 3600, -2), 0}, {lease("a", 3600, 1), 2}}},
		{"right", "", []look{{lease("a", 0, 0), 0}, {lease("a", 0, 1), 2}}},
		{"old at the first look", "", []look{{lease("a", -3600, -3600), 0}}},
	} {
		notes := strings.Join(explained(2, tc.looks...).Notes, "\n")
		if !strings.Contains(notes, tc.want) || (notes == "") != (tc.want == "") {
			t.Errorf("%s: %q, want %q", tc.name, notes, tc.want)
		}
	}
}

func TestExplain_NotesWhatIsOdd(t *testing.T) {
	odd := lease("a", 3600, 3600)
	odd.Spec.LeaseDurationSeconds, odd.Spec.Strategy = nil, new(coordinationv1.OldestEmulationVersion)
	notes := strings.Join(explained(0, look{odd, 0}).Notes, "\n")
	for _, want := range []string{"LeaseDuration is missing", "1h0m0s ahead", "coordinated leader election"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
}

// An heir whom electors do not believe in is none.
func TestExplain_BelievesInTheHeirWhomElectorsBelieveIn(t *testing.T) {
	for text, want := range map[string]string{
		"1767355200000000 0 1 b":          "b",
		"1767355200000000 -7 1 b c":       "b c",
		"1767355200000000 high 1 b":       "",
		"1767355200000000 0 yesterday b":  "",
		"1767355200000000 9999999999 1 b": "",
		"1767355200000001 0 1 b":          "",
		"1767355200000000 0 b":            "",
		"1767355200000000 0 1 ":           "",
		" 1767355200000000 0 1 b":         "",
		"1767355200000000\t0\t1\tb":       "",
	} {
		held := lease("a", 0, 0)
		held.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/successor": text}
		a := explained(1, look{held, 1})
		if a.Heir != want || a.Writer.Incumbent != (want != "" || strings.HasSuffix(text, "1 ")) {
			t.Errorf("%q: the heir is %q, want %q; ours: %v", text, a.Heir, want, a.Writer.Incumbent)
		}
	}
}

func TestAnswer_ReadsWell(t *testing.T) {
	held := lease("pod-1", 0, 4)
	held.ResourceVersion = "77"
	held.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/terms":     `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","renewed":"2026-01-02T11:59:59.000000Z","end":"released"}]`,
	}
	const want = `Lease      ns/app
State      pod-1 leads since 2026-01-02 12:00:00Z, heir pod-2
Renewed    500ms ago, lives for 15s without
Claimable  from 2026-01-02 12:00:19Z on, in 14.5s, if it is not renewed any more
Writer     package leaderelection
Terms      2026-01-02 11:00:00Z to 2026-01-02 11:59:59Z  pod-0 released
           2026-01-02 12:00:00Z to                    ?  pod-1
`
	if diff := cmp.Diff(want, explained(5, look{lease("pod-1", 0, 2), 2}, look{held, 4.5}, look{held, 5}).String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnswer_AnUpdateTellsWhatIsNew(t *testing.T) {
	l, renewed := lease("pod-1", 0, 2), lease("pod-1", 0, 4)
	looks := []look{{l, 3}, {renewed, 5}}
	led, again := explained(5, looks...), explained(6, append(looks, look{renewed, 6})...)
	if update := again.Update(led); update != "" {
		t.Errorf("nothing is new, and it says:\n%s", update)
	}
	expired := explained(20, append(looks, look{renewed, 20})...)
	const want = `12:00:20.000  nobody leads: pod-1 has expired
              Why        pod-1 has not renewed for 15s, longer than its LeaseDuration (15s), and nobody else has claimed it: no candidate runs, or none may update the Lease or reach the API server
              Claimable  now, by a candidate that has watched it for 15s; one that starts now waits for that long first
`
	if diff := cmp.Diff(want, expired.Update(led)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again.Fences = &explain.Fences{Found: []explain.Fence{{Policy: "mine", Resources: []string{"pods"}}}}
	const fenced = `12:00:06.000  pod-1 leads since 2026-01-02 12:00:00Z
              Fencing    mine asks for this Lease, but is not of package fencing: what it reports is not known; it is asked about pods
`
	if diff := cmp.Diff(fenced, again.Update(led)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Whatever happens is told, and that time passes is not.
func TestAnswer_AnUpdateTellsOfAllButTheTime(t *testing.T) {
	l := lease("a", 0, 4)
	looks := []look{{lease("a", 0, 2), 3}, {l, 4.5}}
	before := explained(4.5, looks...)
	changed := func(change func(*coordinationv1.Lease)) explain.Answer {
		l := l.DeepCopy()
		l.Spec.RenewTime = new(metav1.NewMicroTime(at(6)))
		change(l)
		return explained(6.5, append(looks, look{l, 6.5})...)
	}
	for want, a := range map[string]explain.Answer{
		"Since      2026-01-02 12:00:00.250000Z": changed(func(l *coordinationv1.Lease) { l.Spec.AcquireTime = new(metav1.NewMicroTime(at(0.25))) }),
		"Note       the API server chooses":      changed(func(l *coordinationv1.Lease) { l.Spec.Strategy = new(coordinationv1.OldestEmulationVersion) }),
		"Holders    the holder has changed 7":    changed(func(l *coordinationv1.Lease) { l.Spec.LeaseTransitions = new(int32(7)) }),
		"Renewed    0s ago, lives for 30s":       changed(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = new(int32(30)) }),
		"Writer     package leaderelection": changed(func(l *coordinationv1.Lease) {
			l.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 "}
		}),
		"": changed(func(l *coordinationv1.Lease) { l.ResourceVersion = "9" }),
	} {
		if update := a.Update(before); a.Same(before) != (want == "") || !strings.Contains(update, want) || (update == "") != (want == "") {
			t.Errorf("want %q, it says:\n%s", want, update)
		}
	}
	ahead := []look{{lease("a", 0, 60), 0}, {lease("a", 0, 62.3), 2}, {lease("a", 0, 65.1), 4.1}}
	if a, b := explained(2, ahead[:2]...), explained(5, ahead...); !a.Same(b) {
		t.Errorf("%q, %q", a.Notes, b.Notes)
	}
	late := []look{{lease("a", 0, 2), 3}, {l, 4.5}, {l, 15}, {l, 16}}
	if a, b := explained(15, late[:3]...), explained(16, late...); a.State != explain.Late || !a.Same(b) || a.Why == b.Why {
		t.Errorf("%q, %q", a.Why, b.Why)
	}
}

// Whatever others wrote, the answer can be printed and encoded, and its text keeps
// to lines of its own.
func FuzzExplain(f *testing.F) {
	f.Add("a", "1767355200000000 0 1 b", "[]", int64(0), int64(0), int32(15))
	f.Add("a\x1b[2J\nState      b leads", "x", "[{}]", int64(-1<<62), int64(1<<62), int32(-1))
	f.Fuzz(func(t *testing.T, holder, heir, terms string, acquired, renewed int64, seconds int32) {
		l := lease(holder, 0, 0)
		l.Spec.LeaseDurationSeconds = &seconds
		l.Spec.AcquireTime, l.Spec.RenewTime = new(metav1.NewMicroTime(time.UnixMicro(acquired))), new(metav1.NewMicroTime(time.UnixMicro(renewed)))
		l.Annotations = map[string]string{
			"incumbent.haproxy-template-ic.github.io/successor": heir, "incumbent.haproxy-template-ic.github.io/terms": terms,
		}
		for _, a := range []explain.Answer{explained(1, look{l, 0}), explained(99, look{lease("b", 0, 0), 0}, look{l, 50})} {
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
			text := a.String() + a.Update(explain.Answer{})
			for _, r := range text {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%q is in %q", r, text)
				}
			}
			if lines := strings.Count(text, "\n"); lines > 30 {
				t.Errorf("%d lines:\n%s", lines, text)
			}
		}
	})
}
