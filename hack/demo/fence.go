package main

import (
	"context"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// account is the service account of the replicas on a control plane of our own,
// where each acts as the pod of its name.
const account = "demo"

// asPod is config for a replica, with rights for everything: what it may not write
// only the Fence refuses.
func asPod(config *rest.Config, namespace, name string) *rest.Config {
	config = envtest.ServiceAccount{Namespace: namespace, Name: account}.Pod(config, name)
	config.Impersonate.Groups = append(config.Impersonate.Groups, "system:masters")
	return config
}

// fenceOff has the API server refuse what others than the leader write into the
// ledger.
func (c *cluster) fenceOff(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := envtest.EnforceFence(ctx, fencing.Fence{ // it ends with the control plane
		LeaseNamespace: c.namespace, LeaseName: leaseName, ServiceAccount: account,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{c.namespace},
	}, c.own.Admin().Config())
	return err
}

// writeLate writes what a leader that was frozen had on its way: on no condition,
// and whatever IsLeader says. Nothing but the Fence is between it and the ledger,
// and it changes no entry. It tries again until there is an answer, for connections
// that were frozen too may be dead.
func (l ledger) writeLate(replica string) event {
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	for {
		at := time.Now()
		switch err := l.label(ctx, replica); {
		case err == nil:
			return event{At: at, Kind: tooLate}
		case fencing.IsStale(err):
			_, detail, _ := strings.Cut(err.Error(), "denied request: ")
			return event{At: at, Kind: fencedOff, Detail: detail}
		case ctx.Err() != nil:
			return event{At: at, Kind: failed, Detail: err.Error()}
		}
	}
}

func (l ledger) label(ctx context.Context, replica string) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	_, err := l.client.Patch(ctx, ledgerName, types.MergePatchType, []byte(`{"metadata":{"labels":{"late":"`+replica+`"}}}`), metav1.PatchOptions{})
	return err
}
