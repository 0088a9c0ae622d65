package migration

import (
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

var block = regexp.MustCompile("(?s)```go\n(.*?)```")

func TestGuide_ContainsOnlyCodeOfThisFolder(t *testing.T) {
	guide, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range []string{"clientgo.go", "observability.go", "controllerruntime.go", "leaderforlife/leaderforlife.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(content)
	}
	blocks := block.FindAllStringSubmatch(string(guide), -1)
	if len(blocks) != 6 {
		t.Errorf("the guide has %d blocks of code, want 6", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(code.String(), b[1]) {
			t.Errorf("the guide contains code that is not in this folder:\n%s", b[1])
		}
	}
}

// A replica represents a process. It sends the time on the channel
// started when its work starts, and on the channel done when its work has stopped.
type replica struct {
	stop          func()
	started, done chan time.Time
}

// start runs a replica. stopping is the time that the work needs to stop
// after its context is done.
func start(t *testing.T, run func(ctx context.Context, work func(context.Context)), stopping time.Duration) *replica {
	t.Helper()
	r := &replica{started: make(chan time.Time, 10), done: make(chan time.Time, 10)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx, func(ctx context.Context) {
			r.started <- time.Now()
			<-ctx.Done()
			time.Sleep(stopping)
			r.done <- time.Now()
		})
	}()
	r.stop = func() { cancel(); <-ended }
	return r
}

func oldReplica(server *leaderelectiontest.Server, id string) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		runClientGo(ctx, server.Client(id).Clientset(), "ns", id, work, func() {})
	}
}

func newReplica(t *testing.T, server *leaderelectiontest.Server, id string) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		if err := RunElector(ctx, server.Client(id).Clientset(), "ns", id, work, func() {}, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}

func TestClientGo_SideBySideWithAnOrderlyStop(t *testing.T) {
	for name, stopping := range map[string]time.Duration{"at once": 0, "within RetryPeriod": 1900 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := leaderelectiontest.NewServer()
				defer server.Close()
				old := start(t, oldReplica(server, "old"), stopping)
				<-old.started
				fresh := start(t, newReplica(t, server, "new"), 5*time.Second)
				time.Sleep(time.Minute)
				if len(fresh.started) > 0 {
					t.Fatal("both lead")
				}
				old.stop()
				oldDone, began := <-old.done, <-fresh.started
				if began.Before(oldDone) {
					t.Errorf("the new replica started %v before the old one had stopped", oldDone.Sub(began))
				}
				back := start(t, oldReplica(server, "old-again"), 0)
				time.Sleep(time.Minute)
				if len(back.started) > 0 {
					t.Fatal("both lead")
				}
				fresh.stop()
				freshDone, began := <-fresh.done, <-back.started
				if began.Before(freshDone) {
					t.Errorf("the old replica started %v before the new one had stopped", freshDone.Sub(began))
				}
				back.stop()
				<-back.done
			})
		})
	}
}

// If a leader does not release the Lease, another candidate must wait until the Lease
// expires. The leader can use this time to stop its work.
func TestClientGo_SideBySideWithoutARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		old := start(t, clientGoCandidate(false)(t, server.Client("old")), 12500*time.Millisecond)
		<-old.started
		fresh := start(t, newReplica(t, server, "new"), 0)
		time.Sleep(time.Minute)
		stopped := time.Now()
		old.stop()
		oldDone, began := <-old.done, <-fresh.started
		if took := began.Sub(stopped); began.Before(oldDone) || took > 16*time.Second {
			t.Errorf("the new replica started %v after the stop of the old one, whose work took %v", took, oldDone.Sub(stopped))
		}
		fresh.stop()
	})
}
