package manager

import (
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestEvents_AMissingRightIsToldOnceAndHarmsNothing(t *testing.T) {
	clientset := fake.NewClientset()
	asked := 0
	clientset.PrependReactor("*", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		return true, nil, apierrors.NewForbidden(corev1.Resource("events"), "", nil)
	})
	var lines []string
	s := &sink{events: clientset.CoreV1().Events(""), logger: funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})}
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "e"}}
	for range 3 {
		if _, err := s.Create(event); err != nil {
			t.Errorf("Create = %v, want it to be left at that", err)
		}
		if _, err := s.Patch(event, []byte("{}")); err != nil {
			t.Errorf("Patch = %v, want it to be left at that", err)
		}
	}
	if asked != 6 || len(lines) != 1 || !strings.Contains(lines[0], "Events may not be recorded") {
		t.Errorf("after %d refusals the log says\n%s", asked, strings.Join(lines, "\n"))
	}
}

func TestEvents_AreOnThePodThatTheEnvironmentNames(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "default", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	getenv := func(name string) string { return env[name] }
	if got := podOf(getenv); len(got) != 1 {
		t.Errorf("%d options, want the pod's", len(got))
	}
	for name := range env {
		some := func(asked string) string {
			if asked == name {
				return ""
			}
			return env[asked]
		}
		if got := podOf(some); got != nil {
			t.Errorf("without %s there is a pod", name)
		}
	}
}
