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

// serviceAccount is the name of a service account. On a control plane that the demo
// started, each replica sends its requests as a pod of this service account. The name
// of the pod is the identity of the replica.
const serviceAccount = "demo"

// enforceFence creates a Fence for the ledger. When enforceFence returns, the API
// server refuses writes to the ledger by replicas that do not lead.
func enforceFence(ctx context.Context, c *lab.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, waitTimeout)
	defer cancel()
	_, err := envtest.EnforceFence(ctx, fencing.Fence{ // the function that removes the Fence is not needed, because the demo stops this control plane at the end
		LeaseNamespace: c.Namespace, LeaseName: leaseName, ServiceAccount: serviceAccount,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{c.Namespace},
	}, c.Plane.Admin().Config())
	return err
}

// writeLate simulates a leader that was frozen just before it sent a write. It sets a
// label of the ledger, without a precondition and without a call of IsLeader. Therefore
// only the Fence can prevent this write. The connections may have broken during the
// freeze. Therefore writeLate repeats the write until the API server replies. It
// returns the result as an event.
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
