package manager_test

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// A write is a record of one attempt of an operator to update a ConfigMap. It contains
// the context, the ConfigMap and the error of the update.
type write struct {
	ctx    context.Context
	object *corev1.ConfigMap
	err    error
}

// startBehindFence installs a Fence. The returned function run starts an operator in
// the Pod with the given name, and waits for the operator's first update of a
// ConfigMap. run returns the operator and a record of this update.
func startBehindFence(t *testing.T, mode fencing.Mode) (run func(name string) (*replica, write)) {
	s := startTestCluster(t, false)
	account := envtest.ServiceAccount{Namespace: s.namespace, Name: "operator"}
	s.plane.Fence(t, fencing.Fence{
		LeaseNamespace: s.namespace, LeaseName: leaseName, ServiceAccount: account.Name,
		Resources: []schema.GroupResource{{Resource: "configmaps"}}, Namespaces: []string{s.namespace},
		Mode: mode,
	})
	s.configMaps(1)
	return func(name string) (*replica, write) {
		writes := make(chan write, 100)
		r := s.replica(name, func(cfg *rest.Config, opts crmanager.Options) (crmanager.Manager, error) {
			cfg = account.Pod(cfg, name)
			cfg.Impersonate.Groups = append(cfg.Impersonate.Groups, "system:masters") // this group has all rights
			return manager.New(cfg, opts, manager.WithIdentity(name+"_1"), manager.WithFencing(mode))
		}, func(ctx context.Context, r *replica, configMap *corev1.ConfigMap) error {
			if configMap.Data["by"] == r.name {
				return nil
			}
			configMap.Data["by"] = r.name
			err := r.GetClient().Update(ctx, configMap)
			writes <- write{context.WithoutCancel(ctx), configMap, err}
			return err
		}).run()
		select {
		case w := <-writes:
			return r, w
		case <-time.After(time.Minute):
			t.Fatalf("%s has not written", name)
			return nil, write{}
		}
	}
}

// A Fence with the modes ByPod and ByTerm must refuse the writes of an earlier leader.
func TestOperator_IsFencedOffAfterItsTerm(t *testing.T) {
	run := startBehindFence(t, fencing.ByPod|fencing.ByTerm)
	first, old := run("pod-a")
	if err := first.stop(); err != nil {
		t.Errorf("pod-a stopped with %v", err)
	}
	second, current := run("pod-b")
	if old.err != nil || current.err != nil {
		t.Errorf("the leaders' writes: %v, %v", old.err, current.err)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"by":"somebody late"}}`))
	if err := first.GetClient().Patch(old.ctx, old.object, patch); !fencing.IsStale(err) {
		t.Errorf("a write of the first leader's: %v, want it refused as stale", err)
	}
	if err := second.GetClient().Patch(t.Context(), current.object, patch); !errors.Is(err, fencing.ErrNoTerm) {
		t.Errorf("a write without a term: %v, want ErrNoTerm", err)
	}
	if err := second.stop(); err != nil {
		t.Errorf("pod-b stopped with %v", err)
	}
}

// With only the mode ByPod, the client does not stamp its writes. The Fence accepts a
// write without a term.
func TestOperator_BehindAFenceByPodStampsNothing(t *testing.T) {
	run := startBehindFence(t, fencing.ByPod)
	leader, current := run("pod-a")
	if current.err != nil {
		t.Errorf("the leader's write: %v", current.err)
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"by":"somebody else"}}`))
	if err := leader.GetClient().Patch(t.Context(), current.object, patch); err != nil {
		t.Errorf("a write without a term: %v", err)
	}
	if len(current.object.Annotations) > 0 {
		t.Errorf("the object has annotations: %v", current.object.Annotations)
	}
	if err := leader.stop(); err != nil {
		t.Errorf("the leader stopped with %v", err)
	}
}
