package rights

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/dispatch"
)

// Missing returns the rights in uses.Rights() that the user of the clientset lacks. It
// sends one SelfSubjectAccessReview for each right. Every authenticated user may send
// these requests. If some requests fail, Missing returns an error together with the
// missing rights that the successful requests have found.
func Missing(ctx context.Context, clientset kubernetes.Interface, uses Uses) ([]Right, error) {
	reviews := clientset.AuthorizationV1().SelfSubjectAccessReviews()
	return missing(uses, func(attributes *authorizationv1.ResourceAttributes) (authorizationv1.SubjectAccessReviewStatus, error) {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}
		answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return authorizationv1.SubjectAccessReviewStatus{}, err
		}
		return answer.Status, nil
	})
}

// MissingOf is like Missing, but checks the rights of a service account. The user of
// the clientset needs the right to create SubjectAccessReviews, which administrators
// have.
func MissingOf(ctx context.Context, clientset kubernetes.Interface, namespace, account string, uses Uses) ([]Right, error) {
	reviews := clientset.AuthorizationV1().SubjectAccessReviews()
	return missing(uses, func(attributes *authorizationv1.ResourceAttributes) (authorizationv1.SubjectAccessReviewStatus, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: attributes,
			User:               "system:serviceaccount:" + namespace + ":" + account,
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
		}}
		answer, err := reviews.Create(ctx, review, metav1.CreateOptions{})
		if err != nil {
			return authorizationv1.SubjectAccessReviewStatus{}, err
		}
		return answer.Status, nil
	})
}

func missing(uses Uses, ask func(*authorizationv1.ResourceAttributes) (authorizationv1.SubjectAccessReviewStatus, error)) ([]Right, error) {
	var lacking []Right
	var errs []error
	for _, r := range uses.Rights() {
		status, err := ask(&authorizationv1.ResourceAttributes{
			Namespace: r.Namespace, Verb: r.Verb, Group: r.Group, Resource: r.Resource, Name: r.Name,
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("asking for the right to %v: %w", r, err))
		} else if !status.Allowed {
			lacking = append(lacking, r)
		}
	}
	return lacking, errors.Join(errs...)
}

// preflightTimeout limits how long Preflight takes.
const preflightTimeout = 10 * time.Second

// AtStart returns an option for leaderelection.New. When Run begins, the Elector checks
// its rights and logs an error for each missing right:
//
//	elector, err := leaderelection.New(config, clientset, callbacks, logger, rights.AtStart(clientset, rights.Uses{}))
//
// The Elector checks the rights for its own Lease. It ignores the fields LeaseNamespace
// and LeaseName of the parameter uses. The check runs in the background and does not
// delay the election, see Preflight. Package manager checks the rights by default, and
// does not need this option.
func AtStart(clientset kubernetes.Interface, uses Uses) leaderelection.Option {
	return leaderelection.WithBackgroundTask(func(ctx context.Context, e *leaderelection.Elector, logger *slog.Logger) {
		uses := uses
		uses.LeaseNamespace, uses.LeaseName = e.Config().LeaseNamespace, e.Config().LeaseName
		Preflight(ctx, clientset, uses, logger)
	})
}

// Preflight logs an error for each right in uses.Rights() that the user of the
// clientset lacks. When an election begins, call Preflight in a separate goroutine:
//
//	go rights.Preflight(ctx, clientset, uses, logger)
//	err := elector.Run(ctx)
//
// Preflight changes no object, and returns after at most ten seconds. A missing right
// does not end the election, because the Elector retries until it has the right.
func Preflight(ctx context.Context, clientset kubernetes.Interface, uses Uses, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	var calls dispatch.Calls
	lacking, err := dispatch.Call(ctx, &calls, func(ctx context.Context) ([]Right, error) { return Missing(ctx, clientset, uses) }, nil)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		logger.Info("Not all rights of the election are known", "err", err)
	}
	for _, r := range lacking {
		logger.Error("A right is missing", "right", r.String(), "without", r.Without)
	}
}
