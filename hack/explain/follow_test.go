package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	typedv1 "k8s.io/client-go/kubernetes/typed/admissionregistration/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
)

// hanging answers everything but questions about admission policies.
type hanging struct{ kubernetes.Interface }

type hangingAdmission struct {
	typedv1.AdmissionregistrationV1Interface
}

type hangingBindings struct {
	typedv1.ValidatingAdmissionPolicyBindingInterface
}

func (h hanging) AdmissionregistrationV1() typedv1.AdmissionregistrationV1Interface {
	return hangingAdmission{h.Interface.AdmissionregistrationV1()}
}

func (h hangingAdmission) ValidatingAdmissionPolicyBindings() typedv1.ValidatingAdmissionPolicyBindingInterface {
	return hangingBindings{h.AdmissionregistrationV1Interface.ValidatingAdmissionPolicyBindings()}
}

func (hangingBindings) List(ctx context.Context, _ metav1.ListOptions) (*admissionv1.ValidatingAdmissionPolicyBindingList, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// What stands around the Lease holds up nobody who wants to know who leads.
func TestAlways_ShowsTheLeaseThoughItsSurroundingsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		answers, stop := followed(t, hanging{fake.NewClientset()}, "ns/app", nil)
		defer stop()
		if a := awaitAnswer(t, answers, func(explain.Answer) bool { return true }); a.State != explain.Absent || a.Fences != nil || time.Since(began) > 2*time.Second {
			t.Fatalf("after %v: %+v", time.Since(began), a)
		}
		a := awaitAnswer(t, answers, func(a explain.Answer) bool { return a.Fences != nil })
		if a.Fences.Problem == "" || time.Since(began) > 15*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), a.Fences)
		}
	})
}
