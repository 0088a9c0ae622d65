package health

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"

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

// A rightsCheck finds out whether the rights of one Elector are sufficient.
type rightsCheck struct {
	config   leaderelection.Config
	reviewer kubernetes.Interface // nil if the API server is not asked

	mu     sync.Mutex
	denied map[string]error // the latest refusal of each kind of request; the key is Request.For
	review review
	exists bool // true if a holder of the Lease was observed
}

// A review is the most recent answer of the API server about the rights of this process.
type review struct {
	busy    bool
	until   time.Time // the earliest time of the next review
	missing []rights.Right
}

// reset forgets everything that an earlier call of Run has shown.
func (c *rightsCheck) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.denied, c.review, c.exists = nil, review{busy: c.review.busy}, false
}

// recordRequest stores the error of a refused request. A successful read removes the
// stored error of reads. A successful write removes the stored errors of all writes.
func (c *rightsCheck) recordRequest(r leaderelection.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Failure {
	case "", "conflict":
		if r.For != leaderelection.RequestRead { // a successful write shows that the process has the right to write
			for _, write := range []string{leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
				delete(c.denied, write)
			}
		}
		delete(c.denied, r.For)
	case "forbidden", "unauthorized", "not_found":
		if r.For == leaderelection.RequestWatch || r.For == leaderelection.RequestNominate && !isUpdateMissing(r.Err) {
			return
		}
		if c.denied == nil {
			c.denied = map[string]error{}
		}
		c.denied[r.For] = r.Err
		if soon := time.Now().Add(missingFor); c.review.until.After(soon) {
			c.review.until = soon // the refusal shows that the rights have changed since the review
		}
	}
}

// isUpdateMissing reports whether err shows that the process lacks the right to update
// the Lease. The text comes from the API server, and is the same for all authorizers. If
// an admission policy has refused a request, isUpdateMissing returns false.
func isUpdateMissing(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot update resource ")
}

// check returns an error if necessary rights are missing. If a review is due, check first
// asks the API server. The parameter leader is the holder of the Lease.
// The parameter follows is true if another candidate leads.
func (c *rightsCheck) check(ctx context.Context, leader string, follows bool) error {
	if c.reviewer != nil && c.startReview() {
		missing, err := c.reviewRights(ctx)
		c.endReview(missing, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exists = c.exists || leader != ""
	if missing := c.missingLocked(); len(missing) > 0 {
		return fmt.Errorf("missing right: %s", strings.Join(missing, ", "))
	}
	if err := c.denied[leaderelection.RequestRead]; err != nil {
		return err
	}
	for _, write := range []string{leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
		// While another candidate leads, an older refusal matters only if the right to
		// update is missing. Other reasons may no longer exist at the next claim.
		if err := c.denied[write]; err != nil && (!follows || isUpdateMissing(err)) {
			return err
		}
	}
	return nil
}

// missingLocked returns the names of the missing rights. The right to create the Lease
// is not necessary after a holder of the Lease was observed.
func (c *rightsCheck) missingLocked() []string {
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
func (c *rightsCheck) startReview() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.review.busy || time.Now().Before(c.review.until) {
		return false
	}
	c.review.busy = true
	return true
}

// reviewRights asks the API server which of the necessary rights are missing.
func (c *rightsCheck) reviewRights(ctx context.Context) ([]rights.Right, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	return rights.Missing(ctx, c.reviewer, rights.Uses{
		LeaseNamespace: c.config.LeaseNamespace, LeaseName: c.config.LeaseName, WithoutWatch: true,
	})
}

// endReview stores the result of a review. If the review failed, endReview keeps the
// previous result. If no right is missing, endReview also removes the stored errors of
// refused requests.
func (c *rightsCheck) endReview(missing []rights.Right, err error) {
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
