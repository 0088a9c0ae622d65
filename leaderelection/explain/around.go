package explain

import (
	"context"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// What stands around a Lease changes seldom, and is not watched. Whoever follows a
// Lease should ask again from time to time.

// LookForFences asks the API server for the policies that guard a Lease's leader. It
// takes the rights to list them and their bindings. It returns after ten seconds at
// the latest.
func LookForFences(ctx context.Context, clientset kubernetes.Interface, namespace, lease string) Fences {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f := Fences{At: time.Now()}
	admission := clientset.AdmissionregistrationV1()
	bindings, err := admission.ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Problem = problem(err)
		return f
	}
	policies, err := admission.ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Problem = problem(err)
		return f
	}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: lease}
	if selects(bindings.Items) {
		stored, err := clientset.CoordinationV1().Leases(namespace).Get(ctx, lease, metav1.GetOptions{})
		switch {
		case err == nil:
			meta.Labels = stored.Labels
		case !apierrors.IsNotFound(err):
			f.Problem = problem(err)
			return f
		}
	}
	f.Found = FencesOf(meta, policies.Items, bindings.Items)
	for i := range f.Found {
		if namespace, account, known := strings.Cut(f.Found[i].Account, "/"); known {
			f.Found[i].AccountAbsent = accountAbsent(ctx, clientset, namespace, account)
		}
	}
	f.Unkept = unkept(f.Found, policies.Items, bindings.Items)
	return f
}

// NamespaceAbsent asks the API server whether there is no namespace of that name. It
// answers false as well if that may not be asked. It returns after ten seconds at the
// latest.
func NamespaceAbsent(ctx context.Context, clientset kubernetes.Interface, namespace string) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := clientset.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

// LacksNamespace takes in that not even the Lease's namespace was found. It says
// nothing about a Lease that was seen nevertheless.
func (a *Answer) LacksNamespace() {
	if a.State != Absent || a.Lost {
		return
	}
	namespace, _, _ := strings.Cut(a.Lease, "/")
	a.NamespaceAbsent, a.Claim = true, nil
	a.because("there is no namespace %s: is its name right?", name(namespace))
}

// selects reports whether the Lease's labels may count.
func selects(bindings []admissionv1.ValidatingAdmissionPolicyBinding) bool {
	for i := range bindings {
		if ref := bindings[i].Spec.ParamRef; ref != nil && ref.Selector != nil {
			return true
		}
	}
	return false
}

// LookIntoRights asks the API server which rights that the uses need a service
// account lacks, see [rights.MissingOf], and whether there is such an account at
// all, if that may be asked. It returns after ten seconds at the latest.
func LookIntoRights(ctx context.Context, clientset kubernetes.Interface, namespace, account string, uses rights.Uses) Rights {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r := Rights{At: time.Now(), Account: namespace + "/" + account, Needs: needsOf(uses)}
	r.Absent = accountAbsent(ctx, clientset, namespace, account)
	_, err := clientset.CoordinationV1().Leases(uses.LeaseNamespace).Get(ctx, uses.LeaseName, metav1.GetOptions{})
	exists := err == nil
	missing, err := rights.MissingOf(ctx, clientset, namespace, account, uses)
	if err != nil {
		r.Problem = problem(err)
		return r
	}
	for _, right := range missing {
		r.Missing = append(r.Missing, right.String()+": "+consequence(right, exists))
	}
	return r
}

// accountAbsent reports whether there is no such service account, if that may be
// asked.
func accountAbsent(ctx context.Context, clientset kubernetes.Interface, namespace, account string) bool {
	_, err := clientset.CoreV1().ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func problem(err error) string {
	if apierrors.IsForbidden(err) {
		return "not known, you may not look: " + err.Error()
	}
	return "not known: " + err.Error()
}
