package main

import (
	"context"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/explain"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// details are what the Lease does not say itself.
type details struct {
	rights *explain.Rights
	fences *explain.Fences
}

func (f *follower) lookAround(ctx context.Context) details {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	d := details{fences: f.lookForFences(ctx)}
	if f.account != "" {
		d.rights = f.lookIntoRights(ctx)
	}
	return d
}

func (f *follower) lookForFences(ctx context.Context) *explain.Fences {
	admission := f.clientset.AdmissionregistrationV1()
	bindings, err := admission.ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{})
	if err != nil {
		return &explain.Fences{Problem: problem(err)}
	}
	policies, err := admission.ValidatingAdmissionPolicies().List(ctx, metav1.ListOptions{})
	if err != nil {
		return &explain.Fences{Problem: problem(err)}
	}
	return &explain.Fences{Found: explain.FencesOf(metav1.ObjectMeta{Namespace: f.namespace, Name: f.name}, policies.Items, bindings.Items)}
}

func (f *follower) lookIntoRights(ctx context.Context) *explain.Rights {
	namespace, name, found := strings.Cut(f.account, "/")
	if !found {
		namespace, name = f.namespace, f.account
	}
	r := &explain.Rights{Account: namespace + "/" + name}
	missing, err := rights.MissingOf(ctx, f.clientset, namespace, name,
		rights.Uses{LeaseNamespace: f.namespace, LeaseName: f.name})
	if err != nil {
		r.Problem = problem(err)
		return r
	}
	for _, right := range missing {
		r.Missing = append(r.Missing, right.String()+": "+right.Without)
	}
	return r
}

func problem(err error) string {
	if apierrors.IsForbidden(err) {
		return "not known, you may not look: " + err.Error()
	}
	return "not known: " + err.Error()
}
