package leasewatch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// A server opens fake watches. It records the time at which each watch was opened.
type server struct {
	began   time.Time
	opened  []time.Duration
	streams []*watch.RaceFreeFakeWatcher
	fail    error
	hang    bool
}

func (s *server) open(ctx context.Context) (watch.Interface, error) {
	s.opened = append(s.opened, time.Since(s.began))
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if s.fail != nil {
		return nil, s.fail
	}
	stream := watch.NewRaceFreeFake()
	s.streams = append(s.streams, stream)
	return stream, nil
}

// run runs a Watch on s until the test ends. Each event is appended to the slice
// events. When the watch opens, true is appended to the slice states. When the watch
// ends, false is appended.
func (s *server) run(t *testing.T, events *[]watch.Event, states *[]bool) *Watch {
	s.began = time.Now()
	w := &Watch{
		Open: s.open, ConnectTimeout: 5 * time.Second, Backoff: time.Second,
		Jitter:  func(d time.Duration) time.Duration { return d },
		Event:   func(e watch.Event) { *events = append(*events, e) },
		Changed: func(open bool, _ error) { *states = append(*states, open) },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return w
}

func lease() *coordinationv1.Lease {
	return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "app"}}
}

func TestWatch_DeliversEventsAndOpensAgainAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		var events []watch.Event
		var states []bool
		s.run(t, &events, &states)
		synctest.Wait()
		s.streams[0].Add(lease())
		synctest.Wait()
		if len(events) != 1 || LeaseOf(events[0]) == nil || len(states) != 1 || !states[0] {
			t.Fatalf("events %v, states %v", events, states)
		}
		time.Sleep(time.Minute)
		s.streams[0].Stop()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(s.opened) != 2 || s.opened[1] != time.Minute+time.Second {
			t.Errorf("opened at %v, want again one Backoff after the end", s.opened)
		}
	})
}

func TestWatch_WaitsLongerAfterEachFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server{fail: errors.New("refused")}
		var events []watch.Event
		var states []bool
		s.run(t, &events, &states)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for i := 1; i < len(s.opened); i++ {
			want := min(time.Second<<(i-1), maxBackoff)
			if got := s.opened[i] - s.opened[i-1]; got != want {
				t.Errorf("attempt %d came %v after the one before, want %v", i, got, want)
			}
		}
		if len(s.opened) < 20 {
			t.Errorf("%d attempts in ten minutes, want at least one each %v", len(s.opened), maxBackoff)
		}
	})
}

func TestWatch_GivesUpAnOpeningThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := server{hang: true}
		var events []watch.Event
		var states []bool
		s.run(t, &events, &states)
		time.Sleep(7 * time.Second)
		synctest.Wait()
		if len(s.opened) != 2 || s.opened[1] != 6*time.Second {
			t.Errorf("opened at %v, want again after ConnectTimeout and Backoff", s.opened)
		}
	})
}

func TestWatch_RestartLeavesAYoungWatchOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		var events []watch.Event
		var states []bool
		w := s.run(t, &events, &states)
		time.Sleep(3 * time.Second)
		w.Restart(4 * time.Second)
		synctest.Wait()
		if len(states) != 1 {
			t.Fatalf("states %v: the watch was restarted after 3s, want it left for 4s", states)
		}
		time.Sleep(time.Second)
		w.Restart(4 * time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(s.opened) != 2 {
			t.Errorf("opened at %v, want a second watch", s.opened)
		}
	})
}

func TestLeaseOf_IgnoresOtherEvents(t *testing.T) {
	for _, event := range []watch.Event{
		{Type: watch.Bookmark, Object: lease()},
		{Type: watch.Error, Object: &metav1.Status{}},
		{Type: watch.Added, Object: &metav1.Status{}},
		{Type: watch.Added},
	} {
		if got := LeaseOf(event); got != nil {
			t.Errorf("LeaseOf(%v) = %v, want nil", event, got)
		}
	}
}
