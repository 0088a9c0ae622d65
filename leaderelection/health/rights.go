package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

const (
	// sufficientFor is the time until the next review if the last review found all
	// necessary rights. missingFor is the time until the next review in all other
	// cases.
	sufficientFor = 5 * time.Minute
	missingFor    = 10 * time.Second
	// reviewTimeout is the time limit for one review.
	reviewTimeout = time.Second / 2
)

// A review is the most recent answer of the API server about the rights of this process.
type review struct {
	busy    bool
	until   time.Time // the earliest time of the next review
	missing []rights.Right
}

// rights returns an error if necessary rights are missing. If a review is
// due, the method first asks the API server.
func (c *checkedElector) rights(ctx context.Context) error {
	if c.reviewer != nil && c.startReview() {
		missing, err := c.reviewRights(ctx)
		c.endReview(missing, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if missing := c.missingLocked(); len(missing) > 0 {
		return fmt.Errorf("missing right: %s", strings.Join(missing, ", "))
	}
	for _, request := range []string{leaderelection.RequestRead, leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
		if err := c.denied[request]; err != nil {
			return err
		}
	}
	return nil
}

// missingLocked returns the names of the missing rights. The right to create the Lease
// is not necessary after a holder of the Lease was observed.
func (c *checkedElector) missingLocked() []string {
	if !c.exists && c.elector.GetLeader() != "" {
		c.exists = true
		delete(c.denied, leaderelection.RequestClaim) // a refused claim no longer matters, because the Lease exists
	}
	var names []string
	for _, r := range c.review.missing {
		if r.Verb == "create" && c.exists {
			continue
		}
		names = append(names, r.String())
	}
	return names
}

// startReview returns true if a review is due and no other goroutine is making a review.
// The caller must then make the review and call endReview.
func (c *checkedElector) startReview() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.review.busy || time.Now().Before(c.review.until) {
		return false
	}
	c.review.busy = true
	return true
}

// reviewRights asks the API server which of the necessary rights are missing.
func (c *checkedElector) reviewRights(ctx context.Context) ([]rights.Right, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	return rights.Missing(ctx, c.reviewer, rights.Uses{
		LeaseNamespace: c.config.LeaseNamespace, LeaseName: c.config.LeaseName, WithoutWatch: true,
	})
}

// endReview stores the result of a review. If the review failed, endReview keeps the
// previous result. If no right is missing, endReview also removes the stored errors of
// refused requests.
func (c *checkedElector) endReview(missing []rights.Right, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.review.busy = false
	switch {
	case err != nil && len(missing) == 0:
		c.review.until = time.Now().Add(missingFor)
	case len(missing) > 0:
		c.review = review{until: time.Now().Add(missingFor), missing: missing}
	default:
		c.review = review{until: time.Now().Add(sufficientFor)}
		clear(c.denied)
	}
}
