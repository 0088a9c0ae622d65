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
		{"a renewal is overdue", 15, []look{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}, explain.Late, true, 19.5, "has not renewed for 10.5s of 15s"},
		{"lapsed under our eyes", 20, []look{{lease("a", 0, 2), 3}, {lease("a", 0, 4), 4.5}}, explain.Lapsed, true, 19.5, "longer than its LeaseDuration (15s)"},
		{"lapsed by its own clock", 100, []look{{lease("a", 0, 2), 100}}, explain.Lapsed, false, 17, "to be certain watch for 15s"},
		{"lapsed, and watched for long", 115, []look{{lease("a", 0, 2), 100}}, explain.Lapsed, true, 17, "a has not renewed"},
		{"a clock that is behind", 102, []look{{lease("a", 0, 2), 100}, {lease("a", 0, 4), 102}}, explain.Led, true, 117, ""},
		{"a clock that is ahead", 2, []look{{lease("a", 3600, 3600), 1}}, explain.Led, false, 16, ""},
		{"freed by client-go", 9, []look{{lease("a", 0, 4), 4}, {lease("", 5, 5), 5}}, explain.Free, true, 5, "has released it"},
		{"deleted while it was held", 6, deleted, explain.Absent, true, 17, "there is no Lease"},
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
		held.Annotations = map[string]string{"incumbent.haproxy-template-ic.github.io/heir": text}
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
		"incumbent.haproxy-template-ic.github.io/heir":  "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/terms": `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","renewed":"2026-01-02T11:59:59.000000Z","end":"released"}]`,
	}
	const want = `Lease      ns/app
State      pod-1 leads since 2026-01-02 12:00:00Z, heir pod-2
Renewed    500ms ago, lives for 15s without
Claimable  from 2026-01-02 12:00:19Z on, in 14.5s, if it is not renewed any more
Writer     package leaderelection
Terms      2026-01-02 11:00:00Z to 2026-01-02 11:59:59Z  pod-0 released
           2026-01-02 12:00:00Z to                    ?  pod-1
`
	if diff := cmp.Diff(want, explained(5, look{lease("pod-1", 0, 2), 2}, look{held, 4.5}).String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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
			"incumbent.haproxy-template-ic.github.io/heir": heir, "incumbent.haproxy-template-ic.github.io/terms": terms,
		}
		for _, a := range []explain.Answer{explained(1, look{l, 0}), explained(99, look{lease("b", 0, 0), 0}, look{l, 50})} {
			if _, err := json.Marshal(a); err != nil {
				t.Error(err)
			}
			text := a.String()
			for _, r := range text {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%q is in %q", r, text)
				}
			}
			if lines := strings.Count(text, "\n"); lines > 20 {
				t.Errorf("%d lines:\n%s", lines, text)
			}
		}
	})
}
