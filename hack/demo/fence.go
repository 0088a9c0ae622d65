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

// serviceAccount is the name of the replicas' service account. The demo uses it only on
// a control plane that the demo started. There each replica acts as a pod, and the name
// of the pod is the identity of the replica.
const serviceAccount = "demo"

// enforceFence makes the API server refuse writes to the ledger by replicas that do not
// lead.
func enforceFence(ctx context.Context, c *lab.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	_, err := envtest.EnforceFence(ctx, fencing.Fence{ // the Fence is never removed, because the demo stops this control plane at the end
		LeaseNamespace: c.Namespace, LeaseName: leaseName, ServiceAccount: serviceAccount,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{c.Namespace},
	}, c.Plane.Admin().Config())
	return err
}

// writeLate sends a write that a leader may have prepared before it was frozen, and
// returns the result as an event. The write has no precondition and follows no call of
// IsLeader. Therefore only the Fence protects the ledger from the write. The write adds
// no entry. writeLate repeats the write until the API server replies, because the
// connections may have broken during the freeze.
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
