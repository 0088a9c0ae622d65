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

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

// hanging is a clientset whose requests for the bindings of admission policies get no
// response. All other requests get a response.
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

// Slow requests for information about the cluster must not delay reports about the
// Lease.
func TestWatch_ReportsTheLeaseWhileOtherRequestsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		reports, stop := watching(t, hanging{fake.NewClientset()}, "ns", "app", nil)
		defer stop()
		if a := awaitReport(t, reports, func(explain.Report) bool { return true }); a.State != explain.Absent || a.Fences != nil || time.Since(start) > 2*time.Second {
			t.Fatalf("after %v: %+v", time.Since(start), a)
		}
		a := awaitReport(t, reports, func(a explain.Report) bool { return a.Fences != nil })
		if a.Fences.Error == "" || time.Since(start) > 15*time.Second {
			t.Errorf("after %v: %+v", time.Since(start), a.Fences)
		}
	})
}
