package routing_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/routing"
)

// This example labels the leader's Pod, and removes the label before the process stops
// leading.
func Example() {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "pod-1"}}
	clientset, logger := fake.NewClientset(pod), slog.New(slog.DiscardHandler) // fake.NewClientset simulates an API server
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	// In a cluster, omit PodNamespace and PodName. Their defaults come from the environment.
	label := routing.Label{Key: "example.com/my-app-leader", Value: "true", PodNamespace: "default", PodName: "pod-1"}
	router, err := routing.New(label, clientset, logger)
	if err != nil {
		fmt.Println(err)
		return
	}
	config := &leaderelection.Config{
		Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default", ReleaseOnCancel: true,
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) {
			awaitLabel(ctx, clientset, "true")
			fmt.Println("the Service sends requests to this Pod")
			router.Withdraw() // for example on SIGTERM
			awaitLabel(ctx, clientset, "")
			fmt.Println("the Service sends no new requests; finish the running ones")
			stop()
		},
	}
	elector, err := leaderelection.New(config, clientset, callbacks, logger, router.Option())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := elector.Run(ctx); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("released")
	// Output:
	// the Service sends requests to this Pod
	// the Service sends no new requests; finish the running ones
	// released
}

// awaitLabel waits until the Pod's label has the value want.
func awaitLabel(ctx context.Context, clientset kubernetes.Interface, want string) {
	for {
		pod, err := clientset.CoreV1().Pods("default").Get(ctx, "pod-1", metav1.GetOptions{})
		if err != nil || pod.Labels["example.com/my-app-leader"] == want {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
}
