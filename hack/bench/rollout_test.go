package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// testSettings returns settings for a busy machine. The LeaseDuration is long, because
// a slow replica must not lose its leadership. The RetryPeriod is short, because the
// test waits for nominations.
func testSettings(implementation string) settings {
	return settings{Implementation: implementation, Timing: lab.Timing{
		LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 500 * time.Millisecond,
	}}
}

// A rolling update must cause only one handover. A new replica becomes the nominated
// successor. The update does not stop new replicas. Therefore the successor leads until
// the end of the update.
func TestRollout_OfFiveReplicasIsOneHandover_InEveryOrderOfStops(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // by default, the race detector delays each exit by one second
	c, err := startCluster(t.Context())
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		implementation string
		surge          int
		order          []int // the order in which the old replicas are stopped; replica 0 is the oldest and leads at first
	}{
		{incumbent, 1, []int{0, 1, 2, 3, 4}},
		{incumbent, 1, []int{4, 2, 0, 1, 3}},
		{incumbent, 5, []int{0, 1, 2, 3, 4}},
		{incumbentMgr, 1, []int{0, 4, 3, 2, 1}},
		{incumbentMgr, 2, []int{1, 2, 3, 4, 0}},
	} {
		t.Run(fmt.Sprintf("%s/surge %d/%v", tc.implementation, tc.surge, tc.order), func(t *testing.T) {
			g, err := newProcessGroup(t.Context(), c, testSettings(tc.implementation), len(tc.order))
			defer func() {
				if err := g.close(); err != nil {
					t.Error(err)
				}
			}()
			if err != nil {
				t.Fatal(err)
			}
			old := g.started
			r, err := g.roll(t.Context(), g.inOrder(tc.order), tc.surge, func(ctx context.Context) error {
				_, err := g.journal.Await(ctx, waitTimeout, "a new replica that is nominated", func(e lab.Event) bool {
					return e.Kind == nominated && e.Replica > replicaName(old)
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.handovers != 1 || r.overlap {
				t.Errorf("%d handovers, want 1; two worked at the same time: %v\n%v", r.handovers, r.overlap, g.journal.All())
			}
		})
	}
}

func TestRolloutOf_CountsTermsAndTheTimeBetweenThem(t *testing.T) {
	e := func(replica string, kind lab.Kind, ms int) lab.Event {
		return lab.Event{Replica: replica, Kind: kind, At: time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond)}
	}
	events := []lab.Event{
		e("a", lab.Elected, 0), e("b", ready, 5), e("a", lab.Ended, 10),
		e("b", lab.Elected, 30), e("c", nominated, 35),
		e("c", lab.Elected, 45), e("b", lab.Ended, 40), // the events of two processes can arrive in the wrong order
		e("c", lab.Ended, 50), e("d", lab.Elected, 49),
	}
	if got, want := rolloutOf(events[:7], 1), (rollout{handovers: 2, idle: 25 * time.Millisecond}); got != want {
		t.Errorf("a rollout is %+v, want %+v", got, want)
	}
	if got := rolloutOf(events, 3); got.handovers != 1 || !got.overlap {
		t.Errorf("a rollout is %+v, want one handover, and two at work at once", got)
	}
}
