package main

import (
	"context"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// serviceAccount is the service account of the replicas on a control plane of the
// demo's own. There each replica acts as the pod of its name.
const serviceAccount = "demo"

// enforceFence makes the API server refuse writes to the ledger by replicas that do
// not lead.
func enforceFence(ctx context.Context, c *lab.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	_, err := envtest.EnforceFence(ctx, fencing.Fence{ // the control plane is not used again without it
		LeaseNamespace: c.Namespace, LeaseName: leaseName, ServiceAccount: serviceAccount,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{c.Namespace},
	}, c.Plane.Admin().Config())
	return err
}

// writeLate sends the write that a frozen leader could have had ready: unconditional
// and without a call of IsLeader. Only the Fence protects the ledger from it. It adds
// no entry. It is repeated until there is an answer, because the connections may have
// broken while the process was frozen.
func writeLate(l lab.Ledger, replica string) lab.Event {
	ctx, cancel := context.WithTimeout(context.Background(), waitTimeout/2)
	defer cancel()
	for {
		at := time.Now()
		switch err := l.Touch(ctx, replica); {
		case err == nil:
			return lab.Event{At: at, Kind: lateWriteAccepted}
		case fencing.IsStale(err):
			_, detail, _ := strings.Cut(err.Error(), "denied request: ")
			return lab.Event{At: at, Kind: lateWriteRefused, Detail: detail}
		case ctx.Err() != nil:
			return lab.Event{At: at, Kind: lab.Failed, Detail: err.Error()}
		}
	}
}
