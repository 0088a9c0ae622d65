package manifests

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// only returns the document of the given kind in the YAML file. It fails the test unless
// the file contains exactly one document of this kind.
func only[T any](t *testing.T, file, kind string) *T {
	t.Helper()
	var found []*T
	for _, object := range documents(t, file) {
		if object.GetKind() == kind {
			found = append(found, as[T](t, object))
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d documents of kind %s", file, len(found), kind)
	}
	return found[0]
}

func TestDeployment_HasThreeReplicasWithTheirNamesInTheEnvironment(t *testing.T) {
	deployment := only[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	if diff := cmp.Diff(ptr.To(int32(3)), deployment.Spec.Replicas); diff != "" {
		t.Errorf("replicas, -want +file:\n%s", diff)
	}
	if n := len(deployment.Spec.Template.Spec.Containers); n != 1 {
		t.Fatalf("%d containers, want 1", n)
	}
	paths := map[string]string{}
	for _, env := range deployment.Spec.Template.Spec.Containers[0].Env {
		if env.ValueFrom != nil && env.ValueFrom.FieldRef != nil {
			paths[env.Name] = env.ValueFrom.FieldRef.FieldPath
		}
	}
	if diff := cmp.Diff(map[string]string{"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_UID": "metadata.uid"}, paths); diff != "" {
		t.Errorf("downward API, -want +file:\n%s", diff)
	}
}

func TestDeployment_ItsPodsMatchAllSelectors(t *testing.T) {
	deployment := only[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	budget := only[policyv1.PodDisruptionBudget](t, "deployment.yaml", "PodDisruptionBudget")
	pods := labels.Set(deployment.Spec.Template.Labels)
	if budget.Namespace != deployment.Namespace {
		t.Errorf("the budget is in %q, the Deployment in %q", budget.Namespace, deployment.Namespace)
	}
	if limit := budget.Spec.MaxUnavailable; limit == nil || limit.IntValue() != 1 {
		t.Errorf("maxUnavailable: %v, want 1", limit)
	}
	// With the default policy, replicas that are not ready can block the drain of a node.
	if policy := budget.Spec.UnhealthyPodEvictionPolicy; policy == nil || *policy != policyv1.AlwaysAllow {
		t.Errorf("unhealthyPodEvictionPolicy: %v, want AlwaysAllow", policy)
	}
	selectors := map[string]*metav1.LabelSelector{
		"PodDisruptionBudget": budget.Spec.Selector, "Deployment": deployment.Spec.Selector, "PodMonitor": &monitor(t).Spec.Selector,
	}
	for _, spread := range deployment.Spec.Template.Spec.TopologySpreadConstraints {
		selectors[spread.TopologyKey] = spread.LabelSelector
	}
	for owner, selector := range selectors {
		// A nil selector matches no Pod, and an empty selector matches every Pod.
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() || !s.Matches(pods) {
			t.Errorf("%s selects %q (%v), the Pods are %q", owner, s, err, pods)
		}
	}
}

// podMonitor contains the fields of the resource PodMonitor that the manifest uses.
type podMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector            metav1.LabelSelector `json:"selector"`
		PodMetricsEndpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"podMetricsEndpoints"`
	} `json:"spec"`
}

func monitor(t *testing.T) *podMonitor {
	t.Helper()
	return only[podMonitor](t, "podmonitor.yaml", "PodMonitor")
}

func TestPodMonitor_ScrapesTheMetricsPort(t *testing.T) {
	m, deployment := monitor(t), only[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	if m.Namespace != deployment.Namespace {
		t.Errorf("the PodMonitor is in %q, the Deployment in %q", m.Namespace, deployment.Namespace)
	}
	if len(m.Spec.PodMetricsEndpoints) != 1 {
		t.Fatalf("the PodMonitor scrapes %d ports, want 1", len(m.Spec.PodMetricsEndpoints))
	}
	scraped := m.Spec.PodMetricsEndpoints[0]
	found := slices.ContainsFunc(deployment.Spec.Template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == scraped.Port })
	if scraped.Port != "metrics" || !found {
		t.Errorf("the PodMonitor scrapes port %q, want the container's port metrics", scraped.Port)
	}
	if interval, err := time.ParseDuration(scraped.Interval); err != nil || interval < 15*time.Second || interval > time.Minute {
		t.Errorf("the scrape interval is %q (%v), the alerts are tested with 15 s to a minute", scraped.Interval, err)
	}
}

// With a memory limit, Kubernetes kills and restarts a process with a memory leak before
// the node runs out of memory.
func TestDeployment_ItsMemoryIsLimited(t *testing.T) {
	resources := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Spec.Containers[0].Resources
	if limit := resources.Limits.Memory(); limit.IsZero() || limit.Cmp(*resources.Requests.Memory()) < 0 {
		t.Errorf("the memory limit is %v, the request %v", limit, resources.Requests.Memory())
	}
}

func TestDeployment_RunsAsTheServiceAccountThatHasTheRights(t *testing.T) {
	deployment := only[appsv1.Deployment](t, "deployment.yaml", "Deployment")
	account := only[corev1.ServiceAccount](t, "deployment.yaml", "ServiceAccount")
	binding := only[rbacv1.RoleBinding](t, "rbac.yaml", "RoleBinding")
	want := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: deployment.Namespace, Name: deployment.Spec.Template.Spec.ServiceAccountName}}
	if diff := cmp.Diff(want, binding.Subjects); diff != "" {
		t.Errorf("-Deployment +rbac.yaml:\n%s", diff)
	}
	if account.Namespace != want[0].Namespace || account.Name != want[0].Name {
		t.Errorf("the service account is %s/%s, the Deployment's %s/%s", account.Namespace, account.Name, want[0].Namespace, want[0].Name)
	}
}

// During a rollout, the number of available replicas must not fall below spec.replicas. A
// new replica may become the leader, so it must be ready before an old replica stops.
func TestDeployment_IsRolledOutOneByOneWithoutFewerReplicas(t *testing.T) {
	strategy := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Strategy
	if strategy.Type != "" && strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		t.Errorf("strategy %q, want a rolling update", strategy.Type)
	}
	want := &appsv1.RollingUpdateDeployment{MaxSurge: ptr.To(intstr.FromInt32(1)), MaxUnavailable: ptr.To(intstr.FromInt32(0))}
	if diff := cmp.Diff(want, strategy.RollingUpdate); diff != "" {
		t.Errorf("rolling update, -want +file:\n%s", diff)
	}
}

// gracefulShutdown is the default time that a Manager waits for its runnables to return.
// The example in the main README sets a shorter time.
const gracefulShutdown = 30 * time.Second

// The Pod's grace period must be long enough for two steps. First the callbacks return,
// and then the Elector releases the Lease. The release can take as long as the longest
// API server outage that a term survives.
func TestDeployment_ItsGracePeriodLeavesTimeForTheRelease(t *testing.T) {
	pod := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Spec
	timing := leaderelection.Config{Enabled: true, ReleaseOnCancel: true}.Timing()
	minimum := gracefulShutdown + timing.Outage
	switch grace := pod.TerminationGracePeriodSeconds; {
	case grace == nil:
		t.Errorf("there is no terminationGracePeriodSeconds: the default of 30 s is less than %v", minimum)
	case time.Duration(*grace)*time.Second < minimum:
		t.Errorf("terminationGracePeriodSeconds: %d is less than %v to stop and %v to release", *grace, gracefulShutdown, timing.Outage)
	}
}

// probePaths returns the paths of the readiness probe and the liveness probe. It also
// checks that both probes use the port named health.
func probePaths(t *testing.T) (ready, live string) {
	t.Helper()
	container := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Spec.Containers[0]
	ports := map[string]int32{}
	for _, port := range container.Ports {
		ports[port.Name] = port.ContainerPort
	}
	paths := map[string]string{}
	for kind, probe := range map[string]*corev1.Probe{"readiness": container.ReadinessProbe, "liveness": container.LivenessProbe} {
		if probe == nil || probe.HTTPGet == nil {
			t.Fatalf("the %s probe has no httpGet", kind)
		}
		if port := probe.HTTPGet.Port.StrVal; port != "health" || ports[port] == 0 {
			t.Errorf("the %s probe uses port %q, want health of %v", kind, &probe.HTTPGet.Port, ports)
		}
		paths[kind] = probe.HTTPGet.Path
	}
	return paths["readiness"], paths["liveness"]
}

// README.md must show code that serves the ports and the probe paths of the Deployment.
func TestDeployment_ItsPortsAndProbesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	ready, live := probePaths(t)
	want := []string{`http.Handle("` + ready + `", health.Handler(h.Ready))`, `http.Handle("` + live + `", health.Handler(h.Live))`}
	for _, port := range only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Spec.Containers[0].Ports {
		switch port.Name {
		case "health":
			want = append(want, fmt.Sprintf(`HealthProbeBindAddress: ":%d"`, port.ContainerPort))
		case "metrics":
			want = append(want, fmt.Sprintf(`BindAddress: ":%d"`, port.ContainerPort))
		}
	}
	if len(want) != 4 {
		t.Error("the container lacks the ports health and metrics")
	}
	for _, text := range want {
		if !strings.Contains(string(page), text) {
			t.Errorf("README.md does not contain %s", text)
		}
	}
}

// leaderLabel returns the label that only the leader's Pod has. The Service's selector
// must contain this label and the labels that all Pods of the Deployment have.
func leaderLabel(t *testing.T) manager.LeaderLabel {
	t.Helper()
	pods := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Labels
	selected := maps.Clone(only[corev1.Service](t, "leader-service.yaml", "Service").Spec.Selector)
	for key, value := range pods {
		if selected[key] != value {
			t.Errorf("the Service does not select %s: %s", key, value)
		}
		delete(selected, key)
	}
	if len(selected) != 1 {
		t.Fatalf("the Service selects %q beside the Deployment's Pods, want one label", selected)
	}
	for key, value := range selected {
		return manager.LeaderLabel{Key: key, Value: value}
	}
	panic("bug: the map has one element")
}

func TestLeaderService_IsDocumentedWithItsLabel(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	label := leaderLabel(t)
	for _, kind := range []string{"manager.LeaderLabel", "routing.Label"} {
		if want := kind + `{Key: "` + label.Key + `", Value: "` + label.Value + `"}`; !strings.Contains(string(page), want) {
			t.Errorf("README.md does not contain %s", want)
		}
	}
	var ports []string
	for _, port := range only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template.Spec.Containers[0].Ports {
		ports = append(ports, port.Name)
	}
	for _, port := range only[corev1.Service](t, "leader-service.yaml", "Service").Spec.Ports {
		if !slices.Contains(ports, port.TargetPort.StrVal) {
			t.Errorf("the Service's port %q has the target port %q, the container's ports are %q", port.Name, port.TargetPort.StrVal, ports)
		}
	}
}

// serviceSelectsLeader creates two Pods of the Deployment and runs a Manager for one of
// these Pods. It checks that the Service selects this Pod while the Manager leads. Before
// the Manager leads and after it has stopped, the Service must select no Pod.
func serviceSelectsLeader(t *testing.T, c *cluster) {
	pods := c.Admin().Clientset().CoreV1().Pods("my-namespace")
	template := only[appsv1.Deployment](t, "deployment.yaml", "Deployment").Spec.Template
	for _, name := range []string{"my-app-1", "my-app-2"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: template.Labels}, Spec: template.Spec}
		if _, err := pods.Create(t.Context(), pod, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	selected := func() (names []string) {
		service, err := c.Admin().Clientset().CoreV1().Services("my-namespace").Get(t.Context(), "my-app-leader", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		list, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: labels.FormatLabels(service.Spec.Selector)})
		if err != nil {
			t.Fatal(err)
		}
		for _, pod := range list.Items {
			names = append(names, pod.Name)
		}
		return names
	}
	if names := selected(); len(names) > 0 {
		t.Errorf("without a leader, the Service selects %q", names)
	}
	stop := lead(t, c, "my-app-1")
	for deadline := time.Now().Add(time.Minute); !slices.Equal(selected(), []string{"my-app-1"}); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the Service selects %q after a minute, want the leader", selected())
		}
	}
	stop()
	if names := selected(); len(names) > 0 {
		t.Errorf("after the release, the Service selects %q", names)
	}
}

// lead runs a Manager in the role of the given Pod. The Manager has the rights that
// README.md lists. lead returns when the Manager serves its probes and its metrics. The
// returned function stop stops the Manager.
func lead(t *testing.T, c *cluster, pod string) (stop func()) {
	t.Helper()
	routing := uses
	routing.Route = true
	roles, bindings := routing.Roles("with-route", "my-namespace", "my-app")
	for i := range roles {
		for _, object := range []any{roles[i], bindings[i]} {
			c.applyObject(t, object)
		}
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		missing, err := rights.MissingOf(t.Context(), c.Admin().Clientset(), "my-namespace", "my-app", routing)
		if err == nil && len(missing) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the service account lacks %v, %v", missing, err)
		}
	}
	label := leaderLabel(t)
	label.PodNamespace, label.PodName = "my-namespace", pod
	probes, scraped := freeAddress(t), freeAddress(t)
	account := envtest.ServiceAccount{Namespace: "my-namespace", Name: "my-app"}
	mgr, err := manager.New(account.Pod(c.Admin().Config(), pod), ctrl.Options{
		LeaderElection: true, LeaderElectionID: uses.LeaseName, LeaderElectionNamespace: uses.LeaseNamespace,
		Metrics: server.Options{BindAddress: scraped}, Logger: logr.Discard(), Scheme: runtime.NewScheme(),
		HealthProbeBindAddress: probes,
	}, manager.WithIdentity(pod), manager.WithLeaderLabel(label))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{mgr.AddHealthzCheck("leaderelection", manager.Live(mgr)), mgr.AddReadyzCheck("leaderelection", manager.Ready(mgr))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	ready, live := probePaths(t)
	for _, url := range []string{probes + ready, probes + live, scraped + metricsPath(t)} {
		awaitOK(t, "http://"+url)
	}
	return stop
}

// metricsPath returns the path at which the Prometheus operator scrapes the metrics.
func metricsPath(t *testing.T) string {
	t.Helper()
	if path := monitor(t).Spec.PodMetricsEndpoints[0].Path; path != "" {
		return path
	}
	return "/metrics"
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// awaitOK polls url until the answer has the status 200. It fails the test if an answer
// has the status 404. It also fails the test after one minute.
func awaitOK(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		status := ""
		reply, err := http.Get(url)
		if err == nil {
			reply.Body.Close()
			status = reply.Status
		}
		switch {
		case err == nil && reply.StatusCode == http.StatusOK:
			return
		case err == nil && reply.StatusCode == http.StatusNotFound || time.Now().After(deadline):
			t.Fatalf("%s: %s (%v), want 200", url, status, err)
		}
	}
}
