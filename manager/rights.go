package manager

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// checkRights logs an error for each missing right. It checks the rights to Pods with
// the client of the route, and all other rights with the client of the election.
func (m *electedManager) checkRights(ctx context.Context, _ *leaderelection.Elector, logger *slog.Logger) {
	uses := m.uses(os.Getenv)
	if m.route == nil || m.route.client == m.client {
		rights.Preflight(ctx, m.client, uses, logger)
		return
	}
	election := uses
	election.Route = false
	rights.Preflight(ctx, m.client, election, logger)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	uses.ProofOfDeath = false // uses the client of the election
	missing, err := rights.Missing(ctx, m.route.client, uses)
	if err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		logger.Info("Checking the rights to pods failed", "err", err)
	}
	for _, r := range missing {
		if r.Resource == "pods" {
			logger.Error("A right is missing", "right", r.String(), "without", r.Without)
		}
	}
}

// uses returns the features whose rights must be checked, the name of the Lease, and
// the namespaces of the Lease and of the Pod.
func (m *electedManager) uses(getenv func(string) string) rights.Uses {
	uses := rights.Uses{LeaseNamespace: m.config.LeaseNamespace, LeaseName: m.config.LeaseName, Events: true}
	if podOf(getenv) != nil {
		uses.PodEvents, uses.ProofOfDeath, uses.PodNamespace = true, true, getenv("POD_NAMESPACE")
	}
	if m.route != nil {
		uses.Route, uses.PodNamespace = true, m.route.Label().PodNamespace
	}
	return uses
}
