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

// The functions in this file request policies, rights and namespaces once. They do not
// watch these objects, because such objects seldom change. While you watch a Lease,
// call the functions again from time to time.

// FindFences returns the policies that guard the writes of a Lease's leader. The user
// of the clientset needs the rights to list policies and their bindings. FindFences
// returns after at most ten seconds.
func FindFences(ctx context.Context, clientset kubernetes.Interface, namespace, lease string) Fences {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	f := Fences{Time: time.Now()}
	admission := clientset.AdmissionregistrationV1()
	bindings, err := admission.ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Error = notKnown(err)
		return f
	}
	policies, err := admission.ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		f.Error = notKnown(err)
		return f
	}
	meta := metav1.ObjectMeta{Namespace: namespace, Name: lease}
	if useLabels(bindings.Items) {
		stored, err := clientset.CoordinationV1().Leases(namespace).Get(ctx, lease, metav1.GetOptions{})
		switch {
		case err == nil:
			meta.Labels = stored.Labels
		case !apierrors.IsNotFound(err):
			f.Error = notKnown(err)
			return f
		}
	}
	f.Policies = FencesOf(meta, policies.Items, bindings.Items)
	for i := range f.Policies {
		if namespace, account, known := strings.Cut(f.Policies[i].ServiceAccount, "/"); known {
			f.Policies[i].ServiceAccountMissing = serviceAccountMissing(ctx, clientset, namespace, account)
		}
	}
	f.AnchorMissing = anchorMissing(f.Policies, policies.Items, bindings.Items)
	return f
}

// NamespaceMissing reports whether a namespace is missing. It returns false if the user
// may not read the namespace. It returns after at most ten seconds.
func NamespaceMissing(ctx context.Context, clientset kubernetes.Interface, namespace string) bool {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := clientset.CoreV1().Namespaces().Get(ctx, namespace, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

// SetNamespaceMissing records in the Report r that the Lease's namespace does not
// exist. It changes r only if r.State is Absent and contact is not lost.
func (r *Report) SetNamespaceMissing() {
	if r.State != Absent || r.ContactLost {
		return
	}
	namespace, _, _ := strings.Cut(r.Lease, "/")
	r.NamespaceMissing, r.Claim = true, nil
	r.setReason("there is no namespace %s: check the name", identity(namespace))
}

// useLabels reports whether at least one binding selects Leases by their labels.
func useLabels(bindings []admissionv1.ValidatingAdmissionPolicyBinding) bool {
	for i := range bindings {
		if ref := bindings[i].Spec.ParamRef; ref != nil && ref.Selector != nil {
			return true
		}
	}
	return false
}

// CheckRights finds out which of the rights in uses.Rights() a service account lacks,
// see [rights.MissingOf]. It also finds out whether the account exists. It returns
// after at most ten seconds.
func CheckRights(ctx context.Context, clientset kubernetes.Interface, namespace, account string, uses rights.Uses) Rights {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r := Rights{Time: time.Now(), ServiceAccount: namespace + "/" + account, Uses: describeUses(uses)}
	r.ServiceAccountMissing = serviceAccountMissing(ctx, clientset, namespace, account)
	_, err := clientset.CoordinationV1().Leases(uses.LeaseNamespace).Get(ctx, uses.LeaseName, metav1.GetOptions{})
	exists := err == nil
	missing, err := rights.MissingOf(ctx, clientset, namespace, account, uses)
	if err != nil {
		r.Error = notKnown(err)
		return r
	}
	for _, right := range missing {
		r.Missing = append(r.Missing, right.String()+": "+consequence(right, exists))
	}
	return r
}

// serviceAccountMissing reports whether a service account is missing. It returns false
// if the user may not read the account.
func serviceAccountMissing(ctx context.Context, clientset kubernetes.Interface, namespace, account string) bool {
	_, err := clientset.CoreV1().ServiceAccounts(namespace).Get(ctx, account, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func notKnown(err error) string {
	if apierrors.IsForbidden(err) {
		return "not known, you may not read it: " + err.Error()
	}
	return "not known: " + err.Error()
}
