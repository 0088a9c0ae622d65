package explain_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

var update = flag.Bool("update", false, "write the documents in testdata anew")

// full is a Lease of ours with everything that can stand in one.
func full(holder string, acquired, renewed float64) explain.Seen {
	l := lease(holder, acquired, renewed)
	l.ResourceVersion, l.Spec.LeaseTransitions = "77", new(int32(3))
	l.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "operator", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:renewTime":{}}}`)}}
	l.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/terms":     `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","renewed":"2026-01-02T11:59:59.000000Z","end":"released"}]`,
	}
	var seen explain.Seen
	for _, second := range []float64{renewed - 4, renewed - 2, renewed} {
		l = l.DeepCopy()
		l.Spec.RenewTime = new(metav1.NewMicroTime(at(second)))
		seen = seen.After(l, at(second))
	}
	return seen
}

func surrounded(a explain.Answer) explain.Answer {
	a.Rights = &explain.Rights{At: at(1), Account: "ns/operator", Absent: true, Needs: []string{"campaign"}, Missing: []string{"update leases: it cannot claim"}, Problem: "not known"}
	a.Fences = &explain.Fences{At: at(1), Unkept: true, Problem: "not known", Found: []explain.Fence{{
		Policy: "policy", Binding: "binding", Incumbent: true, Account: "ns/operator", AccountAbsent: true, Enforced: true, IgnoresErrors: true, OpenWithoutLease: true,
		ByPod: true, ByTerm: true, Resources: []string{"configmaps"}, Limits: []string{"with exceptions"},
	}}}
	return a
}

// Programs read these documents: a field that is renamed or left out breaks them,
// and a test that decodes with our own types would not notice.
func TestAnswer_IsTheDocumentThatProgramsRead(t *testing.T) {
	renewed, silent := full("pod-1", 0, 4), lease("pod-1", 0, 3600)
	nowhere := explained(1, look{nil, 0})
	nowhere.Lease = "ns/app"
	nowhere.LacksNamespace()
	over := explain.Seen{}.After(lease("pod-1", 0, 0), at(0)).After(lease("pod-1", 0, 2), at(2)).After(lease("pod-2", 3, 3), at(3))
	for name, a := range map[string]explain.Answer{
		"unknown": explained(1), "absent": explained(1, look{nil, 0}), "absent-namespace": nowhere,
		"unused": explained(1, look{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}, 0}), "free": explained(9, look{lease("pod-1", 0, 4), 4}, look{lease("", 0, 5), 5}),
		"led": surrounded(explain.Explain(renewed, at(5))), "led-taken": explain.Explain(over, at(4)),
		"held":    explained(2, look{silent, 0}, look{silent, 2}),
		"late":    explained(14, look{lease("pod-1", 0, 2), 2}, look{lease("pod-1", 0, 4), 4}, look{lease("pod-1", 0, 4), 14}),
		"expired": explained(20, look{lease("pod-1", 0, 2), 2}, look{lease("pod-1", 0, 4), 4}, look{lease("pod-1", 0, 4), 20}),
		"lost":    explain.Explain(renewed, at(60)),
	} {
		content, err := json.MarshalIndent(a, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		content = append(content, '\n')
		path := filepath.Join("testdata", name+".json")
		if *update {
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, content) {
			t.Errorf("%s (-update writes it anew): -want +got:\n%s", path, cmp.Diff(string(want), string(content)))
		}
	}
}
