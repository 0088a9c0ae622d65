package envtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestClient_LostConnectionsAnswerNothingAndNewOnesWork(t *testing.T) {
	t.Parallel()
	client := shared.get(t).Client("router")
	defer client.Close()
	ask := func(clientset kubernetes.Interface, patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := clientset.CoreV1().Namespaces().Get(ctx, "default", metav1.GetOptions{})
		return err
	}
	must(t, ask(client.Clientset(), time.Minute))
	client.LoseConnections()
	if err := ask(client.Clientset(), 300*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("over a lost connection: %v", err)
	}
	must(t, ask(kubernetes.NewForConfigOrDie(client.Config()), time.Minute))
}
