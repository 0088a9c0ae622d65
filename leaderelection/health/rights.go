package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
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
	missing []rights.Right
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
	if missing := p.missingLocked(); len(missing) > 0 {
		return fmt.Errorf("missing right: %s", strings.Join(missing, ", "))
	}
	for _, what := range []string{leaderelection.RequestRead, leaderelection.RequestClaim, leaderelection.RequestRenew, leaderelection.RequestNominate} {
		if err := p.denied[what]; err != nil {
			return err
		}
	}
	return nil
}

// missingLocked names what is missing. Of a Lease that somebody holds or has held
// nobody needs the right to create it, which RBAC cannot limit to a name.
func (p *patient) missingLocked() []string {
	if !p.exists && p.elector.GetLeader() != "" {
		p.exists = true
		delete(p.denied, leaderelection.RequestClaim) // to make it
	}
	var names []string
	for _, r := range p.review.missing {
		if r.Verb == "create" && p.exists {
			continue
		}
		names = append(names, r.String())
	}
	return names
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

// ask makes a review of the rights without which there is no election.
func (p *patient) ask(ctx context.Context) ([]rights.Right, error) {
	ctx, cancel := context.WithTimeout(ctx, reviewTimeout)
	defer cancel()
	return rights.Missing(ctx, p.reviewer, rights.Uses{
		LeaseNamespace: p.config.LeaseNamespace, LeaseName: p.config.LeaseName, WithoutWatch: true,
	})
}

// reviewed takes in a review. One that could not be made leaves what was known; a
// right that is there now takes away what was refused before.
func (p *patient) reviewed(missing []rights.Right, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.review.busy = false
	switch {
	case err != nil && len(missing) == 0:
		p.review.until = time.Now().Add(missingFor)
	case len(missing) > 0:
		p.review = review{until: time.Now().Add(missingFor), missing: missing}
	default:
		p.review = review{until: time.Now().Add(sufficientFor)}
		clear(p.denied)
	}
}
