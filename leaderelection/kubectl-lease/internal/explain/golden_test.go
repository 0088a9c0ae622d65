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
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

var update = flag.Bool("update", false, "write the documents in testdata")

// full returns three observations of a Lease that an Elector holds and renews. The
// Lease has all fields and annotations that an Elector writes.
func full(holder string, acquired, renewed float64) explain.Observed {
	l := lease(holder, acquired, renewed)
	l.ResourceVersion, l.Spec.LeaseTransitions = "77", ptr.To(int32(3))
	l.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "operator", FieldsV1: fieldsOf(`{"f:spec":{"f:renewTime":{}}}`)}}
	l.Annotations = map[string]string{
		"incumbent.haproxy-template-ic.github.io/successor": "1767355200000000 0 1 pod-2",
		"incumbent.haproxy-template-ic.github.io/terms":     `[{"holder":"pod-0","acquired":"2026-01-02T11:00:00.000000Z","renewed":"2026-01-02T11:59:59.000000Z","end":"released"}]`,
	}
	var observed explain.Observed
	for _, second := range []float64{renewed - 4, renewed - 2, renewed} {
		l = l.DeepCopy()
		l.Spec.RenewTime = ptr.To(metav1.NewMicroTime(at(second)))
		observed = observed.With(l, at(second))
	}
	return observed
}

func withRightsAndFences(a explain.Report) explain.Report {
	a.Rights = &explain.Rights{Time: at(1), ServiceAccount: "ns/operator", ServiceAccountMissing: true, Uses: []string{"campaign"}, Missing: []string{"update leases: it cannot claim"}, Error: "not known"}
	a.Fences = &explain.Fences{Time: at(1), AnchorMissing: true, Error: "not known", Policies: []explain.Fence{{
		Policy: "policy", Binding: "binding", Incumbent: true, ServiceAccount: "ns/operator", ServiceAccountMissing: true, Enforced: true, IgnoresErrors: true, OpenWithoutLease: true,
		ByPod: true, ByTerm: true, Resources: []string{"configmaps"}, Limits: []string{"with exceptions"},
	}}}
	return a
}

// Programs read the JSON form of a Report. If a field is renamed or removed, these
// programs break. Therefore the test compares the JSON text. If the test decoded the
// JSON with the Go types of this package, it would not detect a renamed field.
func TestReport_IsTheDocumentThatProgramsRead(t *testing.T) {
	renewed, timeless := full("pod-1", 0, 4), lease("pod-1", 0, 3600)
	noNamespace := explainAt(1, observation{nil, 0})
	noNamespace.Lease = "ns/app"
	noNamespace.SetNamespaceMissing()
	taken := explain.Observed{}.With(lease("pod-1", 0, 0), at(0)).With(lease("pod-1", 0, 2), at(2)).With(lease("pod-2", 3, 3), at(3))
	for name, a := range map[string]explain.Report{
		"unknown": explainAt(1), "absent": explainAt(1, observation{nil, 0}), "absent-namespace": noNamespace,
		"unused": explainAt(1, observation{&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app"}}, 0}), "free": explainAt(9, observation{lease("pod-1", 0, 4), 4}, observation{lease("", 0, 5), 5}),
		"led": withRightsAndFences(explain.Explain(renewed, at(5))), "led-taken": explain.Explain(taken, at(4)),
		"unconfirmed":  explainAt(2, observation{timeless, 0}, observation{timeless, 2}),
		"overdue":      explainAt(14, observation{lease("pod-1", 0, 2), 2}, observation{lease("pod-1", 0, 4), 4}, observation{lease("pod-1", 0, 4), 14}),
		"expired":      explainAt(20, observation{lease("pod-1", 0, 2), 2}, observation{lease("pod-1", 0, 4), 4}, observation{lease("pod-1", 0, 4), 20}),
		"contact-lost": explain.Explain(renewed, at(60)),
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
			t.Errorf("%s (-update writes it): -want +got:\n%s", path, cmp.Diff(string(want), string(content)))
		}
	}
}

// fieldsOf returns the set of fields that the JSON text describes.
func fieldsOf(text string) *metav1.FieldsV1 {
	fields := &metav1.FieldsV1{}
	if err := fields.UnmarshalJSON([]byte(text)); err != nil {
		panic(err)
	}
	return fields
}
