package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// How long an answer about rights holds, and how long the API server may take for
// it.
const (
	sufficientFor = 5 * time.Minute
	missingFor    = 10 * time.Second
	reviewTimeout = time.Second / 2
)

// A review is what the API server last said about our rights.
type review struct {
	busy    bool
	until   time.Time // it holds
	missing []string  // verbs
}

// rights returns an error if rights are known to be missing: the API server's own
// word counts most, if it can be had.
func (p *patient) rights(ctx context.Context) error {
	if p.reviewer != nil && p.mayAsk() {
		missing, err := p.ask(ctx)
		p.reviewed(missing, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.review.missing) > 0 {
		return fmt.Errorf("missing right: %s leases.coordination.k8s.io", strings.Join(p.review.missing, ", "))
	}
	for _, what := range []string{leaderelection.RequestRead, leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestHeir} {
		if err := p.denied[what]; err != nil {
			return err
		}
	}
	return nil
}

// mayAsk reports whether it is time for a review, and nobody else makes one.
func (p *patient) mayAsk() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.review.busy || time.Now().Before(p.review.until) {
		return false
	}
	p.review.busy = true
	return true
}

// ask makes a review, and returns the verbs that are missing.
func (p *patient) ask(ctx context.Context) (missing []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	for _, verb := range []string{"get", "create", "update"} {
		attributes := &authorizationv1.ResourceAttributes{
			Group: coordinationv1.GroupName, Resource: "leases", Verb: verb, Namespace: p.config.LeaseNamespace, Name: p.config.LeaseName,
		}
		if verb == "create" {
			attributes.Name = "" // it cannot be limited to a name
		}
		answer, err := p.reviewer.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes},
		}, metav1.CreateOptions{})
		switch {
		case err != nil:
			return nil, err
		case answer == nil:
			return nil, errors.New("the client answered with neither a review nor an error")
		case !answer.Status.Allowed:
			missing = append(missing, verb)
		}
	}
	return missing, nil
}

// reviewed takes in a review. One that could not be made leaves what was known; a
// right that is there now takes away what was refused before.
func (p *patient) reviewed(missing []string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.review.busy = false
	switch {
	case err != nil:
		p.review.until = time.Now().Add(missingFor)
	case len(missing) > 0:
		p.review = review{until: time.Now().Add(missingFor), missing: missing}
	default:
		p.review = review{until: time.Now().Add(sufficientFor)}
		clear(p.denied)
	}
}
