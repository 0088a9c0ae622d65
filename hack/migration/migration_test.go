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

func TestPage_IsThisCode(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, file := range []string{"clientgo.go", "oncall.go", "controllerruntime.go", "forlife/forlife.go"} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(content)
	}
	blocks := block.FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 6 {
		t.Errorf("%d blocks of code, want 6", len(blocks))
	}
	for _, b := range blocks {
		if !strings.Contains(code.String(), b[1]) {
			t.Errorf("this is not in the package:\n%s", b[1])
		}
	}
}

// A replica works in a process of its own, and tells when.
type replica struct {
	stop          func()
	started, done chan time.Time
}

// start runs a replica whose work takes a moment to stop.
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

func theirs(server *leaderelectiontest.Server, id string) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		withClientGo(ctx, server.Client(id).Clientset(), "ns", id, work, func() {})
	}
}

func ours(t *testing.T, server *leaderelectiontest.Server, id string) func(context.Context, func(context.Context)) {
	return func(ctx context.Context, work func(context.Context)) {
		if err := Instead(ctx, server.Client(id).Clientset(), "ns", id, work, func() {}, slog.New(slog.DiscardHandler)); err != nil {
			t.Error(err)
		}
	}
}

func TestClientGo_SideBySide(t *testing.T) {
	for name, stopping := range map[string]time.Duration{"at once": 0, "within RetryPeriod": 1900 * time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := leaderelectiontest.NewServer()
				defer server.Close()
				old := start(t, theirs(server, "old"), stopping)
				<-old.started
				fresh := start(t, ours(t, server, "new"), 5*time.Second)
				time.Sleep(time.Minute)
				if len(fresh.started) > 0 {
					t.Fatal("both lead")
				}
				old.stop()
				oldDone, began := <-old.done, <-fresh.started
				if began.Before(oldDone) {
					t.Errorf("ours began %v before theirs had stopped", oldDone.Sub(began))
				}
				back := start(t, theirs(server, "old-again"), 0)
				time.Sleep(time.Minute)
				if len(back.started) > 0 {
					t.Fatal("both lead")
				}
				fresh.stop()
				freshDone, began := <-fresh.done, <-back.started
				if began.Before(freshDone) {
					t.Errorf("theirs began %v before ours had stopped", freshDone.Sub(began))
				}
				back.stop()
				<-back.done
			})
		})
	}
}

// Who does not release leaves its work the rest of the Lease to stop in.
func TestClientGo_SideBySideWithoutARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		old := start(t, clientGoMember(false)(t, server.Client("old")), 12500*time.Millisecond)
		<-old.started
		fresh := start(t, ours(t, server, "new"), 0)
		time.Sleep(time.Minute)
		stopped := time.Now()
		old.stop()
		oldDone, began := <-old.done, <-fresh.started
		if took := began.Sub(stopped); began.Before(oldDone) || took > 16*time.Second {
			t.Errorf("ours began %v after the stop of theirs, whose work took %v", took, oldDone.Sub(stopped))
		}
		fresh.stop()
	})
}
