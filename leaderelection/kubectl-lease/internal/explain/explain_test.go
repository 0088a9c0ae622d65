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
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(second float64) time.Time { return noon.Add(time.Duration(second * float64(time.Second))) }

// lease returns a Lease in the form in which client-go writes Leases. Its LeaseDuration
// is 15 s. The parameters acquired and renewed are the acquireTime and the renewTime,
// in seconds after noon.
func lease(holder string, acquired, renewed float64) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", UID: "1"},
		Spec: coordinationv1.LeaseSpec{
			HolderIdentity: &holder, LeaseDurationSeconds: ptr.To(int32(15)),
			AcquireTime: ptr.To(metav1.NewMicroTime(at(acquired))), RenewTime: ptr.To(metav1.NewMicroTime(at(renewed))),
		},
	}
}

type observation struct {
	lease *coordinationv1.Lease
	at    float64
}

func explainAt(now float64, observations ...observation) explain.Report {
	var observed explain.Observed
	for _, l := range observations {
		observed = observed.With(l.lease, at(l.at))
	}
	return explain.Explain(observed, at(now))
}

func TestExplain_StateAndEarliestClaim(t *testing.T) {
	deleted := []observation{{lease("a", 0, 0), 0}, {lease("a", 0, 2), 2}, {nil, 5}}
	renewed := lease("a", 0, 4)
	overdue := []observation{{lease("a", 0, 2), 3}, {renewed, 4.5}, {renewed, 15}}
	for _, tc := range []struct {
		name         string
		now          float64
		observations []observation
		state        explain.State
		certain      bool
		claim        float64
		reason       string
	}{
		{"no Lease", 1, []observation{{nil, 0}}, explain.Absent, true, 0, "there is no Lease"},
		{"never held", 1, []observation{{&coordinationv1.Lease{}, 0}}, explain.Unused, true, 0, "it has never had a holder"},
		{"the first observation", 3, []observation{{lease("a", 0, 2), 3}}, explain.Led, false, 17, ""},
		{"a renewal was observed", 5, []observation{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}, explain.Led, true, 19.5, ""},
		{"a renewal is overdue", 15, overdue, explain.Overdue, true, 19.5, "has not renewed for 10.5s of 15s"},
		{"overdue at the last contact", 19.6, overdue, explain.Overdue, true, 19.5, "has not renewed for 10.5s of 15s"},
		{"expired while it was observed", 20, append(overdue, observation{renewed, 20}), explain.Expired, true, 19.5, "longer than its LeaseDuration (15s)"},
		{"expired by its own clock", 100, []observation{{lease("a", 0, 2), 100}}, explain.Expired, false, 17, "to be certain watch for 15s"},
		{"expired, and watched for long", 115, []observation{{lease("a", 0, 2), 100}, {lease("a", 0, 2), 115}}, explain.Expired, true, 17, "a has not renewed"},
		{"a clock that is behind", 102, []observation{{lease("a", 0, 2), 100}, {lease("a", 0, 4), 102}}, explain.Led, true, 117, ""},
		{"a clock that is less than a second ahead", 2, []observation{{lease("a", 2, 2), 1}}, explain.Led, false, 16, ""},
		{"a clock that is ahead, and a renewal was observed", 4, []observation{{lease("a", 3600, 3600), 1}, {lease("a", 3600, 3602), 3}}, explain.Led, true, 18, ""},
		{"released by client-go", 9, []observation{{lease("a", 0, 4), 4}, {lease("", 5, 5), 5}}, explain.Free, true, 5, "released it"},
		{"deleted while it was held", 6, deleted, explain.Absent, true, 17, "the Lease was deleted"},
	} {
		a := explainAt(tc.now, tc.observations...)
		if a.State != tc.state || a.Certain != tc.certain || !strings.Contains(a.Reason, tc.reason) || (a.Reason == "") != (tc.reason == "") {
			t.Errorf("%s: state %s, certain %v, reason %q", tc.name, a.State, a.Certain, a.Reason)
		}
		if a.Claim == nil || !a.Claim.From.Equal(at(tc.claim)) {
			t.Errorf("%s: claimable %+v, want from %v on", tc.name, a.Claim, at(tc.claim))
		}
	}
	if a := explainAt(1); a.State != explain.Unknown || a.Claim != nil || a.NobodyLeads() {
		t.Errorf("nothing was observed: %+v", a)
	}
}

// If the renewTime is ahead of this machine's clock, the Lease looks as if it was just
// renewed, even if the holder is dead. A Lease without a renewTime does not show
// whether its holder is alive.
func TestExplain_IsUnconfirmedUntilAChangeShowsThatTheHolderIsAlive(t *testing.T) {
	timeless := lease("a", 0, 0)
	timeless.Spec = coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a")}
	for name, l := range map[string]*coordinationv1.Lease{
		"ahead": lease("a", 1800, 1802), "a little ahead": lease("a", 0, 1.1), "nothing but a holder": timeless,
	} {
		a := explainAt(2.5, observation{l, 0}, observation{l, 2.5})
		if a.State != explain.Unconfirmed || a.Certain || a.NobodyLeads() || a.Claim != nil || !strings.Contains(a.Reason, "to be certain watch for 15s") {
			t.Errorf("%s: %+v", name, a)
		}
		if a.Renewal.AgeSeconds != nil || a.Renewal.UnchangedSeconds != 2.5 {
			t.Errorf("%s: the renewal is %+v", name, a.Renewal)
		}
		text := a.String()
		for _, want := range []string{"State      a holds it, and whether it leads is not known\n", "Renewed    not known; unchanged for at least 2.5s, expires after 15s\n"} {
			if !strings.Contains(text, want) {
				t.Errorf("%s: it lacks %q:\n%s", name, want, text)
			}
		}
		if a := explainAt(12, observation{l, 0}, observation{l, 12}); a.State != explain.Unconfirmed || a.Certain {
			t.Errorf("%s, watched for 12 s: %+v", name, a)
		}
		if a := explainAt(15, observation{l, 0}, observation{l, 15}); a.State != explain.Expired || !a.Certain || a.Claim == nil || a.Renewal.AgeSeconds != nil {
			t.Errorf("%s, watched for 15 s: %+v", name, a)
		}
	}
}

// If the work of a former holder may still run, the report must contain a note about
// the former holder.
func TestExplain_NotesAFormerHolderThatMayBeAtWork(t *testing.T) {
	recreated, cleared, recorded := lease("b", 3, 3), lease("", 3, 3), lease("b", 3, 3)
	recreated.UID = "2"
	recorded.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/terms": `[{"holder":"a","acquired":"2026-01-02T12:00:00.000000Z","end":"released"}]`}
	expired := recorded.DeepCopy()
	expired.Annotations["incumbent.haproxy-template-ic.github.io/terms"] = strings.Replace(recorded.Annotations["incumbent.haproxy-template-ic.github.io/terms"], "released", "expired", 1)
	a, b := []observation{{lease("a", 0, 0), 0}, {lease("a", 0, 2), 2}}, lease("b", 3, 3)
	const want = "a was not observed to release the Lease and may be at work until 2026-01-02 12:00:17Z"
	for _, tc := range []struct {
		name         string
		note         bool
		now          float64
		observations []observation
	}{
		{"b takes it", true, 3, append(a, observation{b, 3})},
		{"b takes it, and records that a has expired", true, 3, append(a, observation{expired, 3})},
		{"it was deleted", true, 3, append(a, observation{nil, 3})},
		{"it was deleted, and b creates it", true, 4, append(a, observation{nil, 3}, observation{recreated, 4})},
		{"it was deleted and created by b between two observations", true, 4, append(a, observation{recreated, 4})},
		{"b has released it again", true, 4, append(a, observation{b, 3}, observation{cleared, 4})},
		{"a has released it", false, 4, append(a, observation{cleared, 3}, observation{b, 4})},
		{"a has released it, as the Lease records", false, 4, append(a, observation{recorded, 4})},
		{"a has expired since", false, 17, append(a, observation{b, 3}, observation{b, 17})},
		{"a had expired", false, 18, append(a, observation{b, 18})},
		{"a had expired by its own clock", false, 102, []observation{{lease("a", 0, 2), 100}, {lease("b", 101, 101), 101}}},
	} {
		notes := strings.Join(explainAt(tc.now, tc.observations...).Notes, "\n")
		if strings.Contains(notes, want) != tc.note || strings.Contains(notes, "at work") != tc.note {
			t.Errorf("%s: the notes are %q", tc.name, notes)
		}
	}
	if notes := explainAt(4, append(a, observation{b, 3}, observation{lease("a", 4, 4), 4})...).Notes; len(notes) != 1 || !strings.HasPrefix(notes[0], "b was not observed") {
		t.Errorf("a holds it again: the notes are %q", notes)
	}
	before, after := explainAt(2, a...), explainAt(3, append(a, observation{b, 3})...)
	if update := after.Update(before); !strings.Contains(update, want) {
		t.Errorf("the update lacks it:\n%s", update)
	}
	later := explainAt(18, append(a, observation{b, 3}, observation{lease("b", 3, 17), 17})...)
	if update := later.Update(after); !strings.Contains(update, "No longer  "+want) {
		t.Errorf("the update does not withdraw it:\n%s", update)
	}
	after.Notes, after.Time = []string{"from a decoded report"}, at(5)
	if update := after.Update(before); !strings.Contains(update, "a decoded report") {
		t.Errorf("a report without stable notes:\n%s", update)
	}
}

func TestExplain_NamesTheSuccessorThatClaimsFirst(t *testing.T) {
	released := lease("", 0, 0)
	released.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/released":  "1767355200000000",
	}
	if text := explainAt(1, observation{released, 1}).String(); !strings.Contains(text, "by the successor, pod-2; other candidates delay their claim") {
		t.Errorf("the text is:\n%s", text)
	}
}

func TestExplain_DistinguishesADeletedLease(t *testing.T) {
	for _, observations := range [][]observation{
		{{lease("a", 0, 0), 0}, {nil, 5}}, {{lease("a", 0, 0), 0}, {nil, 5}, {nil, 7}}, {{lease("", 0, 0), 0}, {nil, 5}},
	} {
		if a := explainAt(7, observations...); !strings.HasPrefix(a.Reason, "the Lease was deleted, at 2026-01-02 12:00:05Z or shortly before") {
			t.Errorf("the reason is %q", a.Reason)
		}
	}
	if a := explainAt(7, observation{nil, 0}, observation{lease("a", 0, 0), 1}, observation{nil, 5}); !strings.Contains(a.Reason, "was deleted") {
		t.Errorf("the reason is %q", a.Reason)
	}
}

// A long identity must not hide the rest of the sentence.
func TestExplain_CutsLongIdentitiesInSentences(t *testing.T) {
	for name, holder := range map[string]string{"long": strings.Repeat("a", 1500), "odd": strings.Repeat("\x00\U0001f600", 300)} {
		a := explainAt(20, observation{lease(holder, 0, 2), 2}, observation{lease(holder, 0, 4), 4}, observation{lease(holder, 0, 4), 20})
		if text := a.String(); !strings.Contains(text, "or none may update the Lease or reach the API server") || a.Holder != holder {
			t.Errorf("%s:\n%s", name, text)
		}
	}
	whole := "pod-" + strings.Repeat("a", 249) + "_01234567-89ab-cdef-0123-456789abcdef"
	if text := explainAt(1, observation{lease(whole, 0, 0), 1}).String(); !strings.Contains(text, whole+" leads") {
		t.Errorf("the name of a Pod with a UUID is cut:\n%s", text)
	}
}

// While contact is lost, the leader may still renew the Lease. Therefore the report
// must not be certain.
func TestExplain_WithoutContactNothingIsCertain(t *testing.T) {
	observations := []observation{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}
	if a := explainAt(9.4, observations...); a.ContactLost || !a.Certain {
		t.Errorf("after a short silence: %+v", a)
	}
	for name, seen := range map[string][]observation{
		"held": observations, "free": {{lease("", 0, 2), 4.5}}, "absent": {{nil, 4.5}}, "expired": {{lease("a", -60, -60), -14}, {lease("a", -60, -60), 4.5}},
	} {
		before, a := explainAt(4.5, seen...), explainAt(100, seen...)
		if a.State != before.State || a.Certain || !a.ContactLost || a.Claim != nil || !strings.Contains(a.Reason, "no contact for 1m36s, since 2026-01-02 12:00:04Z") {
			t.Errorf("%s: %+v", name, a)
		}
		if a.Renewal != nil && *a.Renewal.AgeSeconds != *before.Renewal.AgeSeconds {
			t.Errorf("%s: the age grew to %v s without contact", name, *a.Renewal.AgeSeconds)
		}
		if text := a.String(); !strings.Contains(text, "State      no contact since 2026-01-02 12:00:04Z; then: "+before.Summary()) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

func TestExplain_AfterLostContactARenewalHasNoKnownTime(t *testing.T) {
	observations := []observation{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 5}, {lease("a", 0, 6), 7}, {lease("a", 0, 98), 100}}
	a := explainAt(101, observations...)
	if a.State != explain.Led || a.Certain || a.ContactLost || *a.Renewal.AgeSeconds != 2 || a.Renewal.LongestIntervalSeconds != 2 {
		t.Errorf("a renewal at an unknown time: %+v, %+v", a, a.Renewal)
	}
	if a := explainAt(103, append(observations, observation{lease("a", 0, 100), 102})...); !a.Certain || a.Renewal.LongestIntervalSeconds != 2 {
		t.Errorf("the next one: %+v, %+v", a, a.Renewal)
	}
	if a := explainAt(101, append(observations[:3:3], observation{lease("a", 0, 6), 100})...); a.State != explain.Expired || !a.Certain || *a.Renewal.AgeSeconds != 93 {
		t.Errorf("no renewal in all that time: %+v, %+v", a, a.Renewal)
	}
}

// The response to a read shows a state that the Lease had after the request was sent.
// The Lease may have changed again before the response arrived. Therefore the last
// contact is the time at which the request was sent.
func TestObserved_AReadIsContactAtTheTimeWhenItWasSent(t *testing.T) {
	renewed := lease("a", 0, 4)
	observed := explain.Observed{}.With(lease("a", 0, 2), at(3)).With(renewed, at(4)).WithRead(renewed, at(18.9), at(21))
	if a := explain.Explain(observed, at(21)); a.State != explain.Overdue || *a.Renewal.AgeSeconds != 14.9 {
		t.Errorf("%+v, %+v", a, a.Renewal)
	}
}

// A Report must list a term as expired only if the expiry is certain. It must not list
// a former holder's term as expired when the current holder's term expires.
func TestExplain_AnExpiryEndsItsOwnTermOnly(t *testing.T) {
	terms := func(l *coordinationv1.Lease, now float64) string {
		l.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/terms": `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","end":"released"}]`}
		a := explainAt(now, observation{l, 100}, observation{l, now})
		if a.State != explain.Expired {
			t.Errorf("the state is %s", a.State)
		}
		var ends []string
		for _, term := range a.Terms {
			ends = append(ends, term.Holder+" "+term.End)
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

func TestExplain_NamesTheCandidatesThatMayClaimAnExpiredLease(t *testing.T) {
	a := explainAt(200, observation{lease("a", 0, 2), 100}, observation{lease("a", 0, 2), 200})
	if want := "one that starts now waits for that long first"; !strings.Contains(a.Claim.Note, want) || !strings.Contains(a.Claim.Note, "watched it for 15s") {
		t.Errorf("%q, want it to contain %q", a.Claim.Note, want)
	}
}

func TestExplain_NotesWrongClocks(t *testing.T) {
	for _, tc := range []struct {
		name         string
		want         string
		observations []observation
	}{
		{"ahead at the first observation", "renewTime was 1h0m0s ahead", []observation{{lease("a", 3600, 3600), 0}}},
		{"ahead, and a renewal was observed", "renewTime was 1h0m0s ahead", []observation{{lease("a", 3600, 3600), 0}, {lease("a", 3600, 3602), 2}}},
		{"behind, and a renewal was observed", "renewTime was already 1h0m0s old", []observation{{lease("a", -3600, -3600), 0}, {lease("a", -3600, -3598), 2}}},
		{"only the acquireTime is ahead", "acquireTime was 59m58s ahead", []observation{{lease("a", 3600, -2), 0}, {lease("a", 3600, 1), 2}}},
		{"correct", "", []observation{{lease("a", 0, 0), 0}, {lease("a", 0, 1), 2}}},
		{"old at the first observation", "", []observation{{lease("a", -3600, -3600), 0}}},
	} {
		notes := strings.Join(explainAt(2, tc.observations...).Notes, "\n")
		if !strings.Contains(notes, tc.want) || (notes == "") != (tc.want == "") {
			t.Errorf("%s: %q, want %q", tc.name, notes, tc.want)
		}
	}
}

func TestExplain_NotesAMissingDurationAndCoordinatedElection(t *testing.T) {
	odd := lease("a", 3600, 3600)
	odd.Spec.LeaseDurationSeconds, odd.Spec.Strategy = nil, ptr.To(coordinationv1.OldestEmulationVersion)
	notes := strings.Join(explainAt(0, observation{odd, 0}).Notes, "\n")
	for _, want := range []string{"LeaseDuration is missing", "1h0m0s ahead", "coordinated leader election"} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note contains %q:\n%s", want, notes)
		}
	}
}

// Electors ignore an invalid nomination of a successor. The report must ignore it as
// well.
func TestExplain_ReadsTheNominationThatElectorsAccept(t *testing.T) {
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
		a := explainAt(1, observation{held, 1})
		if a.Successor != want || a.Writer.Incumbent != (want != "" || strings.HasSuffix(text, "1 ")) {
			t.Errorf("%q: the successor is %q, want %q; an Elector wrote it: %v", text, a.Successor, want, a.Writer.Incumbent)
		}
	}
}

func TestReport_Text(t *testing.T) {
	held := lease("pod-1", 0, 4)
	held.ResourceVersion = "77"
	held.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/terms":     `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","renewed":"2026-01-02T11:59:59.000000Z","end":"released"}]`,
	}
	const want = `Lease      ns/app
State      pod-1 leads since 2026-01-02 12:00:00Z, successor pod-2
Renewed    500ms ago, expires after 15s
Claimable  from 2026-01-02 12:00:19Z on, in 14.5s, if it is not renewed any more
Writer     package leaderelection
Terms      2026-01-02 11:00:00Z to 2026-01-02 11:59:59Z  pod-0 released
           2026-01-02 12:00:00Z to                    ?  pod-1
`
	if diff := cmp.Diff(want, explainAt(5, observation{lease("pod-1", 0, 2), 2}, observation{held, 4.5}, observation{held, 5}).String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestReport_UpdateShowsTheChanges(t *testing.T) {
	l, renewed := lease("pod-1", 0, 2), lease("pod-1", 0, 4)
	observations := []observation{{l, 3}, {renewed, 5}}
	led, again := explainAt(5, observations...), explainAt(6, append(observations, observation{renewed, 6})...)
	if update := again.Update(led); update != "" {
		t.Errorf("nothing has changed, and the update is:\n%s", update)
	}
	expired := explainAt(20, append(observations, observation{renewed, 20})...)
	const want = `12:00:20.000  nobody leads: pod-1 has expired
              Reason     pod-1 has not renewed for 15s, longer than its LeaseDuration (15s), and nobody else has claimed it: no candidate runs, or none may update the Lease or reach the API server
              Claimable  now, by a candidate that has watched it for 15s; one that starts now waits for that long first
`
	if diff := cmp.Diff(want, expired.Update(led)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	again.Fences = &explain.Fences{Policies: []explain.Fence{{Policy: "mine", Resources: []string{"pods"}}}}
	const fenced = `12:00:06.000  pod-1 leads since 2026-01-02 12:00:00Z
              Fencing    mine reads this Lease, but is not of package fencing: what it reports is not known; it is asked about pods
`
	if diff := cmp.Diff(fenced, again.Update(led)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Update must show every change, with two exceptions: times that change with each
// renewal, and durations that grow while the Lease does not change.
func TestReport_UpdateShowsEverythingButTime(t *testing.T) {
	l := lease("a", 0, 4)
	observations := []observation{{lease("a", 0, 2), 3}, {l, 4.5}}
	before := explainAt(4.5, observations...)
	changed := func(change func(*coordinationv1.Lease)) explain.Report {
		l := l.DeepCopy()
		l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(at(6)))
		change(l)
		return explainAt(6.5, append(observations, observation{l, 6.5})...)
	}
	for want, a := range map[string]explain.Report{
		"Acquired   2026-01-02 12:00:00.250000Z": changed(func(l *coordinationv1.Lease) { l.Spec.AcquireTime = ptr.To(metav1.NewMicroTime(at(0.25))) }),
		"Note       the API server chooses":      changed(func(l *coordinationv1.Lease) { l.Spec.Strategy = ptr.To(coordinationv1.OldestEmulationVersion) }),
		"Holders    the holder has changed 7":    changed(func(l *coordinationv1.Lease) { l.Spec.LeaseTransitions = ptr.To(int32(7)) }),
		"Renewed    0s ago, expires after 30s":   changed(func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = ptr.To(int32(30)) }),
		"Writer     package leaderelection": changed(func(l *coordinationv1.Lease) {
			l.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 "}
		}),
		"": changed(func(l *coordinationv1.Lease) { l.ResourceVersion = "9" }),
	} {
		if update := a.Update(before); a.Same(before) != (want == "") || !strings.Contains(update, want) || (update == "") != (want == "") {
			t.Errorf("want %q, the update is:\n%s", want, update)
		}
	}
	ahead := []observation{{lease("a", 0, 60), 0}, {lease("a", 0, 62.3), 2}, {lease("a", 0, 65.1), 4.1}}
	if a, b := explainAt(2, ahead[:2]...), explainAt(5, ahead...); !a.Same(b) {
		t.Errorf("%q, %q", a.Notes, b.Notes)
	}
	late := []observation{{lease("a", 0, 2), 3}, {l, 4.5}, {l, 15}, {l, 16}}
	if a, b := explainAt(15, late[:3]...), explainAt(16, late...); a.State != explain.Overdue || !a.Same(b) || a.Reason == b.Reason {
		t.Errorf("%q, %q", a.Reason, b.Reason)
	}
}

// For any content of a Lease, the report must be encodable as JSON. The text of the
// report must not contain characters that move the cursor.
func FuzzExplain(f *testing.F) {
	f.Add("a", "1767355200000000 0 1 b", "[]", int64(0), int64(0), int32(15))
	f.Add("a\x1b[2J\nState      b leads", "x", "[{}]", int64(-1<<62), int64(1<<62), int32(-1))
	f.Fuzz(func(t *testing.T, holder, successor, terms string, acquired, renewed int64, seconds int32) {
		l := lease(holder, 0, 0)
		l.Spec.LeaseDurationSeconds = &seconds
		l.Spec.AcquireTime, l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.UnixMicro(acquired))), ptr.To(metav1.NewMicroTime(time.UnixMicro(renewed)))
		l.Annotations = map[string]string{
			"incumbent.haproxy-template-ic.github.io/successor": successor, "incumbent.haproxy-template-ic.github.io/terms": terms,
		}
		for _, a := range []explain.Report{explainAt(1, observation{l, 0}), explainAt(99, observation{lease("b", 0, 0), 0}, observation{l, 50})} {
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
			text := a.String() + a.Update(explain.Report{})
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
