//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A side is a Deployment of operators that use one election. Its namespace, its
// Deployment, its service account and the label of its Pods have the name of the election.
type side struct {
	election string
	node     *node
	referee  *referee
}

// The application's own right, in addition to those for the election.
var operatorRules = []rbacv1.PolicyRule{
	{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"get", "list", "watch"}},
}

// deploy applies the manifests of the project: those that kubectl lease manifests prints.
// Only the image, its arguments and the number of replicas differ.
func (s *side) deploy(ctx context.Context, replicas int32) error {
	c, err := client.New(s.node.config, client.Options{})
	if err != nil {
		return err
	}
	meta := metav1.ObjectMeta{Name: s.election + "-operator", Namespace: s.election}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.election}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "settings", Namespace: s.election}},
		&rbacv1.Role{ObjectMeta: meta, Rules: operatorRules},
		&rbacv1.RoleBinding{
			ObjectMeta: meta,
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: s.election, Name: s.election}},
		},
	}
	manifests, err := s.manifests(ctx, replicas)
	if err != nil {
		return err
	}
	for _, object := range append(objects, manifests...) {
		if err := c.Create(ctx, object); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return s.scale(ctx, replicas)
}

func (s *side) manifests(ctx context.Context, replicas int32) ([]client.Object, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(filepath.Dir(self), "kubectl-lease"), "manifests", "deployment", "rbac",
		"--app", s.election, "--namespace", s.election, "--image", operatorImage)
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("kubectl lease manifests: %w", err)
	}
	var objects []client.Object
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		switch err := decoder.Decode(&object.Object); {
		case errors.Is(err, io.EOF):
			return objects, nil
		case err != nil:
			return nil, fmt.Errorf("kubectl lease manifests: %w", err)
		case object.GetKind() != "Deployment":
			objects = append(objects, object)
		default:
			deployment := &appsv1.Deployment{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, deployment); err != nil {
				return nil, err
			}
			deployment.Spec.Replicas = &replicas
			container := &deployment.Spec.Template.Spec.Containers[0]
			container.ImagePullPolicy = corev1.PullNever
			container.Args = []string{"-election", s.election, "-lease", s.election + "-leader", "-referee", refereeAddress}
			objects = append(objects, deployment)
		}
	}
}

func (s *side) scale(ctx context.Context, replicas int32) error {
	return s.patchDeployment(ctx, fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
}

// The parameters of settle. The leader needs about six seconds to learn its container and
// to record it in the Lease. A random part makes the failures independent of the period
// with which the kubelet looks at its containers.
const (
	settlePeriod  = 7 * time.Second
	settleJitter  = 2 * time.Second
	settleTimeout = 4 * time.Minute
)

// settle waits until all replicas are ready, no other Pod is left, and the same process
// has worked for some seconds. It returns the work of this process.
func (s *side) settle(ctx context.Context) (work, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("%s: no stable state after %v", s.election, settleTimeout))
	defer cancel()
	period := settlePeriod + rand.N(settleJitter)
	for {
		problem := s.unsettled(ctx)
		working := s.working()
		if problem == nil && len(working) == 1 && time.Since(working[0].from) >= period {
			return working[0], nil
		}
		if err := lab.Sleep(ctx, 100*time.Millisecond); err != nil {
			return work{}, fmt.Errorf("%w: %d processes work, and %w", err, len(working), problem)
		}
	}
}

func (s *side) working() []work {
	return slices.DeleteFunc(s.referee.since(s.election, time.Now()), func(w work) bool { return !w.to.IsZero() })
}

// unsettled returns nil if the Deployment is complete and has no other Pods.
func (s *side) unsettled(ctx context.Context) error {
	d, err := s.node.clientset.AppsV1().Deployments(s.election).Get(ctx, s.election, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pods, err := s.pods(ctx)
	if err != nil {
		return err
	}
	want := *d.Spec.Replicas
	if st := d.Status; st.ObservedGeneration < d.Generation || st.UpdatedReplicas != want || st.AvailableReplicas != want || len(pods) != int(want) {
		return fmt.Errorf("of %d replicas, %d are updated, %d are available and %d exist", want, st.UpdatedReplicas, st.AvailableReplicas, len(pods))
	}
	return nil
}

func (s *side) pods(ctx context.Context) ([]corev1.Pod, error) {
	list, err := s.node.clientset.CoreV1().Pods(s.election).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// awaitSuccessor waits until another process than w works.
func (s *side) awaitSuccessor(ctx context.Context, w work) error {
	const timeout = 2 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s: nobody has followed %s after %v", s.election, w.name(), timeout))
	defer cancel()
	for {
		if slices.ContainsFunc(s.working(), func(other work) bool { return other.name() != w.name() }) {
			return nil
		}
		if err := lab.Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// signal sends a signal to the process that did the work w.
func (s *side) signal(w work, signal syscall.Signal) error {
	pid, err := s.node.find(func(cgroup string, args []string) bool {
		return strings.Contains(cgroup, "pod"+w.process.UID) && slices.Contains(args, "operator")
	})
	if err != nil {
		return fmt.Errorf("process of %s: %w", w.name(), err)
	}
	return syscall.Kill(pid, signal)
}

// find returns the process of the node whose cgroup and command line satisfy match.
func (n *node) find(match func(cgroup string, args []string) bool) (int, error) {
	found := 0
	for _, h := range n.cgroups.Hierarchies {
		if h.Options != "" && !slices.Contains(strings.Split(h.Options, ","), "memory") {
			continue
		}
		err := filepath.WalkDir(n.cgroups.folder(h), func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Base(path) != "cgroup.procs" {
				return nil // a cgroup may end at any time
			}
			text, _ := os.ReadFile(path)
			for pid := range strings.FieldsSeq(string(text)) {
				command, _ := os.ReadFile("/proc/" + pid + "/cmdline")
				if match(path, strings.Split(string(command), "\x00")) {
					_, err = fmt.Sscan(pid, &found)
				}
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	if found == 0 {
		return 0, errors.New("not found")
	}
	return found, nil
}
