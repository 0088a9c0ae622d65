package main

import (
	"cmp"
	"context"
	"sync"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/explain"
)

// refreshInterval is the interval at which explain --watch requests the information
// about the cluster.
const refreshInterval = time.Minute

// clusterInfo is information about the cluster that the Lease does not contain: the
// rights of the service account, the admission policies, whether the namespace exists, and
// whether the holder's pod proves that the holder has ended. This information is requested concurrently with the Lease, because slow
// responses must not delay the reports about the Lease.
type clusterInfo struct {
	*explainOptions
	clientset kubernetes.Interface
	known     chan struct{} // closed when all information has been requested once

	mu               sync.Mutex
	rights           *explain.Rights
	fences           *explain.Fences
	namespaceMissing bool
	early            *explain.EarlyClaim
}

// refresh requests the information about the cluster. With --watch it repeats the
// requests every refreshInterval until ctx is done.
func (c *clusterInfo) refresh(ctx context.Context) {
	c.request(ctx)
	close(c.known)
	for c.watch {
		select {
		case <-ctx.Done():
			return
		case <-time.After(refreshInterval):
			c.request(ctx)
		}
	}
}

func (c *clusterInfo) request(ctx context.Context) {
	var requests sync.WaitGroup
	var fences explain.Fences
	var rights *explain.Rights
	namespaceMissing := false
	var early *explain.EarlyClaim
	requests.Go(func() { early = explain.FindEarlyClaim(ctx, c.clientset, c.namespace, c.name) })
	requests.Go(func() { fences = explain.FindFences(ctx, c.clientset, c.namespace, c.name) })
	requests.Go(func() { namespaceMissing = explain.NamespaceMissing(ctx, c.clientset, c.namespace) })
	if c.account != "" {
		requests.Go(func() { rights = ptr.To(c.checkRights(ctx)) })
	}
	requests.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fences, c.rights, c.namespaceMissing, c.early = &fences, rights, namespaceMissing, early
}

func (c *clusterInfo) checkRights(ctx context.Context) explain.Rights {
	uses := c.uses
	uses.LeaseNamespace, uses.LeaseName, uses.PodEvents = c.namespace, c.name, c.uses.Events
	return explain.CheckRights(ctx, c.clientset, cmp.Or(c.accountNamespace, c.uses.PodNamespace, c.namespace), c.account, uses)
}

// await waits until all information has been requested once, or until ctx is done. Call
// await before the watch of the Lease begins, because the caller cannot process changes
// of the Lease while it waits.
func (c *clusterInfo) await(ctx context.Context) {
	select {
	case <-c.known:
	case <-ctx.Done():
	}
}

func (c *clusterInfo) addTo(r *explain.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.Rights, r.Fences = c.rights, c.fences
	r.SetEarlyClaim(c.early)
	if c.namespaceMissing {
		r.SetNamespaceMissing()
	}
}
