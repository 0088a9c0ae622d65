package leaderelectiontest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
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

// Three replicas of a program run in fake time. The leader crashes. The test fails if
// two replicas ever work at the same time.
func ExampleGroup() {
	_ = func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			group := leaderelectiontest.NewGroup(t)
			candidates := map[string]*leaderelectiontest.Candidate{}
			for _, identity := range []string{"pod-1", "pod-2", "pod-3"} {
				candidates[identity] = group.Start(identity, func(ctx context.Context, c *leaderelectiontest.Candidate) error {
					config := &leaderelection.Config{Enabled: true, Identity: c.Identity(), LeaseName: "my-app", LeaseNamespace: "default"}
					elector, err := leaderelection.New(config, c.Client().Clientset(), leaderelection.Callbacks{
						OnStartedLeading: func(ctx context.Context) {
							defer c.Work()() // the work of the leader starts here
							<-ctx.Done()
						},
					}, nil)
					if err != nil {
						return err
					}
					return elector.Run(ctx)
				})
			}
			leader, err := group.AwaitWork(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			candidates[leader].Crash()
			if _, err := group.AwaitWork(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
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
