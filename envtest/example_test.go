package envtest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

var cp *envtest.ControlPlane

// This example shows how all tests of a package use one control plane.
func Example() {
	// The following function is TestMain of the package.
	_ = func(m *testing.M) {
		var err error
		if cp, err = envtest.Start(envtest.Options{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		code := m.Run()
		if err := cp.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
		os.Exit(code)
	}

	// The following function is a test.
	_ = func(t *testing.T) {
		t.Parallel()
		client, namespace := cp.Client("pod-1"), cp.Namespace(t)
		started := make(chan struct{})
		go campaign(t.Context(), client, namespace, started)
		<-started
		client.Network().Cut(leaderelectiontest.Hang)
		// ...
	}
}

// This example delays the reply to a claim until the test calls Heal.
func ExampleClient_Network() {
	_ = func(t *testing.T) {
		client, namespace := cp.Client("pod-1"), cp.Namespace(t)
		ctx, cancel := context.WithCancel(t.Context())
		reply := client.Network().DelayReplies(leaderelectiontest.Forever, leaderelectiontest.When(leaderelectiontest.Claims("pod-1")), leaderelectiontest.Once())
		go campaign(ctx, client, namespace, make(chan struct{}))
		reply.Await(t) // the server has applied the claim, but pod-1 has not received the reply
		cancel()
		reply.Heal() // now pod-1 receives the reply
	}
}

// Clients of the second API server continue to work while the first API server
// is down.
func ExampleServer() {
	_ = func(t *testing.T) {
		cp, err := envtest.Start(envtest.Options{APIServers: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = cp.Stop() }()
		if err := cp.APIServer(0).Kill(); err != nil {
			t.Fatal(err)
		}
		client := cp.Client("pod-1", envtest.OnAPIServer(1))
		if _, err := client.Clientset().CoreV1().Namespaces().Get(t.Context(), "default", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
}

// A Referee fails the test if two workers worked at the same time.
func ExampleReferee() {
	_ = func(t *testing.T) {
		referee := envtest.NewReferee(t)
		// The following function is the callback OnStartedLeading.
		_ = func(ctx context.Context) {
			defer referee.Start("pod-1", "term 1")()
			<-ctx.Done()
		}
	}
}

func campaign(context.Context, *envtest.Client, string, chan<- struct{}) {}
