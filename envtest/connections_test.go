package envtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestClient_DeadConnectionsGetNoReplyAndNewOnesWork(t *testing.T) {
	t.Parallel()
	client := shared.get(t).Client("router")
	defer client.Close()
	get := func(clientset kubernetes.Interface, timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := clientset.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	must(t, get(client.Clientset(), time.Minute))
	client.LoseConnections()
	if err := get(client.Clientset(), 300*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a request on a dead connection: %v", err)
	}
	must(t, get(kubernetes.NewForConfigOrDie(client.Config()), time.Minute))
}
