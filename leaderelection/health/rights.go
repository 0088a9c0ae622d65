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
	// sufficientFor and missingFor are how long the result of a review is used.
	sufficientFor = 5 * time.Minute
	missingFor    = 10 * time.Second
	// reviewTimeout bounds one review.
	reviewTimeout = time.Second / 2
)

// A review is the API server's last answer about the rights.
type review struct {
	busy    bool
	until   time.Time // when the next review is due
	missing []rights.Right
}

// rights returns an error if rights are known to be missing. It makes a review first if
// one is due.
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

// missingLocked returns the names of the missing rights. The right to create a Lease
// that has had a holder is not needed. RBAC cannot limit that right to one name.
func (c *checkedElector) missingLocked() []string {
	if !c.exists && c.elector.GetLeader() != "" {
		c.exists = true
		delete(c.denied, leaderelection.RequestClaim) // the claim that would have created the Lease
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

// startReview reports whether a review is due and no other goroutine makes it. The
// caller must call endReview.
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

// endReview stores the result of a review. A failed review keeps the previous result. A
// review without a missing right clears earlier refusals.
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
