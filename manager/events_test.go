package manager

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

func TestEvents_AMissingRightIsLoggedOnceAndHarmsNothing(t *testing.T) {
	clientset := fake.NewClientset()
	asked := 0
	clientset.PrependReactor("*", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
		asked++
		return true, nil, apierrors.NewForbidden(corev1.Resource("events"), "", nil)
	})
	var lines []string
	s := newEventSink(clientset.CoreV1().Events(""), funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{}))
	defer s.close()
	event := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "e"}}
	for range 3 {
		if _, err := s.Create(event); err != nil {
			t.Errorf("Create = %v, want nil", err)
		}
		if _, err := s.Patch(event, []byte("{}")); err != nil {
			t.Errorf("Patch = %v, want nil", err)
		}
	}
	if asked != 6 || len(lines) != 1 || !strings.Contains(lines[0], "Recording events is forbidden") {
		t.Errorf("after %d refusals the log is\n%s", asked, strings.Join(lines, "\n"))
	}
}

// The Manager must not end before all events are sent. Important events, such as
// "stopped leading", are among the last events.
func TestEvents_AreSentBeforeTheManagerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clientset, sent := fake.NewClientset(), 0
		clientset.PrependReactor("create", "events", func(clienttesting.Action) (bool, runtime.Object, error) {
			time.Sleep(time.Second / 2)
			sent++
			return false, nil, nil
		})
		r := &recorder{client: clientset, identity: "a", logger: logr.Discard()}
		stop := r.start()
		for i := range 3 {
			r.Eventf(eventSubject, corev1.EventTypeNormal, "Reason", "event %d", i)
		}
		stop(time.Minute)
		if sent != 3 {
			t.Errorf("%d events had been sent when the recorder had stopped, want 3", sent)
		}
	})
}

// A request that is sent after the client was closed would open a new connection. This
// connection would never be closed.
func TestEvents_AreNotSentAfterTheManagerEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun, pending atomic.Int32
		r := &recorder{client: hungClient{Interface: fake.NewClientset(), begun: &begun, pending: &pending}, identity: "a", logger: logr.Discard()}
		stop := r.start()
		for i := range 3 {
			r.Eventf(eventSubject, corev1.EventTypeNormal, "Reason", "event %d", i)
		}
		synctest.Wait()
		const timeout = time.Second
		began := time.Now()
		stop(timeout)
		if begun.Load() != 1 || pending.Load() != 0 || time.Since(began) > timeout {
			t.Errorf("it stopped after %v: %d requests had begun and %d were pending", time.Since(began), begun.Load(), pending.Load())
		}
		time.Sleep(time.Hour)
		if begun.Load() != 1 {
			t.Errorf("%d requests have begun since", begun.Load()-1)
		}
	})
}

var eventSubject = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a"}}

// A hungClient is a client whose API server does not respond to writes of events.
type hungClient struct {
	kubernetes.Interface
	typedcorev1.CoreV1Interface
	typedcorev1.EventInterface
	begun, pending *atomic.Int32
}

func (c hungClient) CoreV1() typedcorev1.CoreV1Interface      { return c }
func (c hungClient) Events(string) typedcorev1.EventInterface { return c }
func (c hungClient) RESTClient() rest.Interface               { return nil }
func (c hungClient) CreateWithEventNamespaceWithContext(ctx context.Context, _ *corev1.Event) (*corev1.Event, error) {
	c.begun.Add(1)
	c.pending.Add(1)
	defer c.pending.Add(-1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// A credential plugin that hangs and ignores the context of the request must not delay the
// end of the Manager.
func TestEvents_ARequestThatIgnoresItsContextDoesNotDelayTheStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{client: deafClient{hungClient{Interface: fake.NewClientset()}}, identity: "a", logger: logr.Discard()}
		stop := r.start()
		r.Eventf(eventSubject, corev1.EventTypeNormal, "Reason", "event")
		synctest.Wait()
		const timeout = time.Second
		began := time.Now()
		stop(timeout)
		if took := time.Since(began); took > timeout*5/4 {
			t.Errorf("it stopped after %v, want %v", took, timeout)
		}
		time.Sleep(2 * time.Hour)
	})
}

// A deafClient is a client whose requests hang and ignore their contexts.
type deafClient struct{ hungClient }

func (c deafClient) CoreV1() typedcorev1.CoreV1Interface      { return c }
func (c deafClient) Events(string) typedcorev1.EventInterface { return c }
func (c deafClient) CreateWithEventNamespaceWithContext(context.Context, *corev1.Event) (*corev1.Event, error) {
	time.Sleep(time.Hour)
	return nil, context.DeadlineExceeded
}

func TestEvents_AreOnThePodThatTheEnvironmentNames(t *testing.T) {
	env := map[string]string{"POD_NAMESPACE": "default", "POD_NAME": "pod-1", "POD_UID": "uid-1"}
	getenv := func(name string) string { return env[name] }
	if got := podOf(getenv); len(got) != 2 {
		t.Errorf("%d options, want the pod's events and proof of death", len(got))
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
