package leaderelectiontest_test

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// In this example, the reply to a write is lost. The client gets an error,
// although the server has applied the write.
func ExampleNetwork_LoseReplies() {
	server := leaderelectiontest.NewServer()
	defer server.Close()
	client := server.Client("pod-1")
	client.Network().LoseReplies(leaderelectiontest.Hang, leaderelectiontest.Verbs("create"), leaderelectiontest.Once())

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	leases := client.Clientset().CoordinationV1().Leases("default")
	_, err := leases.Create(ctx, lease("pod-1"), metav1.CreateOptions{})
	fmt.Println("failed:", err != nil)
	for _, write := range server.History() {
		fmt.Println(write.Client, write.Verb, "holder:", leaderelectiontest.Holder(write.After))
	}
	// Output:
	// failed: true
	// pod-1 create holder: pod-1
}

// In this example, a fault hits only the second and the third write of a
// client.
func ExampleWhen() {
	server := leaderelectiontest.NewServer()
	defer server.Close()
	client := server.Client("pod-1")
	writes := 0
	client.Network().Fail(503, 0, leaderelectiontest.Verbs("create", "update"), leaderelectiontest.When(
		func(leaderelectiontest.Request) bool {
			writes++
			return writes > 1 && writes < 4
		}))

	leases := client.Clientset().CoordinationV1().Leases("default")
	held, err := leases.Create(context.Background(), lease("pod-1"), metav1.CreateOptions{})
	fmt.Println("created:", err == nil)
	for range 3 {
		_, err = leases.Update(context.Background(), held, metav1.UpdateOptions{})
		fmt.Println("unavailable:", apierrors.IsServiceUnavailable(err))
	}
	// Output:
	// created: true
	// unavailable: true
	// unavailable: true
	// unavailable: false
}
