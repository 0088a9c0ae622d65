package leaderelectiontest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// campaign runs client-go's LeaderElector. After a lost term, the work
// continues for the duration in the parameter stopping.
func campaign(stopping time.Duration) func(context.Context, *leaderelectiontest.Candidate) error {
	return func(ctx context.Context, c *leaderelectiontest.Candidate) error {
		started, stopped := make(chan struct{}), make(chan struct{})
		elector, err := clientleaderelection.NewLeaderElector(clientleaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta: metav1.ObjectMeta{Namespace: "default", Name: "my-app"}, Client: c.Client().Clientset().CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity()},
			},
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true,
			Callbacks: clientleaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					close(started)
					defer close(stopped)
					defer c.Work()()
					<-ctx.Done()
					time.Sleep(stopping)
				},
				OnStoppedLeading: func() {},
			},
		})
		if err != nil {
			return err
		}
		elector.Run(ctx)
		select {
		case <-started:
			<-stopped
		default:
		}
		return ctx.Err()
	}
}

// A recordingTB records errors instead of failing the test.
type recordingTB struct {
	testing.TB
	errors []string
}

func (tb *recordingTB) Errorf(format string, args ...any) {
	tb.errors = append(tb.errors, fmt.Sprintf(format, args...))
}

func TestGroup_HandsOverAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		group := leaderelectiontest.NewGroup(t)
		a := group.Start("a", campaign(0))
		if first, err := group.AwaitWork(t.Context()); first != "a" || err != nil {
			t.Fatalf("AwaitWork = %q, %v", first, err)
		}
		group.Start("b", campaign(0))
		crashed := time.Now()
		a.Crash()
		if group.Working() != "" {
			t.Errorf("%s works after the crash", group.Working())
		}
		if next, err := group.AwaitWork(t.Context()); next != "b" || err != nil {
			t.Errorf("AwaitWork = %q, %v", next, err)
		}
		if took := time.Since(crashed); took < 10*time.Second {
			t.Errorf("b worked %v after the crash, want it to wait for the Lease: a crash releases nothing", took)
		}
	})
}

// In this test, client-go releases the Lease before its work has stopped.
// Therefore another candidate starts to work too early.
func TestGroup_FailsTheTestIfTwoCandidatesWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := &recordingTB{TB: t}
		group := leaderelectiontest.NewGroup(tb)
		a := group.Start("a", campaign(20*time.Second))
		if _, err := group.AwaitWork(t.Context()); err != nil {
			t.Fatal(err)
		}
		group.Start("b", campaign(0))
		time.Sleep(time.Minute)
		if err := a.Stop(); err != nil {
			t.Error(err)
		}
		if len(tb.errors) != 1 || !strings.Contains(tb.errors[0], "b started to work while a worked") {
			t.Errorf("errors = %q, want one", tb.errors)
		}
	})
}

func TestGroup_AwaitWorkEndsWithItsContext(t *testing.T) {
	group := leaderelectiontest.NewGroup(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if identity, err := group.AwaitWork(ctx); identity != "" || err == nil {
		t.Errorf("AwaitWork = %q, %v", identity, err)
	}
}
