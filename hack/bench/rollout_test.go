package main

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// The Lease lasts long, so that a busy machine costs nobody leadership; renewals
// are frequent, for a new replica enters itself as heir between two of them.
func testOrders(contender string) orders {
	return orders{Contender: contender, Lasts: 30 * time.Second, Renew: 20 * time.Second, Retry: 500 * time.Millisecond}
}

// Each replica is a process. A new one outranks the old ones, so that whoever is
// stopped last is followed by one that stays.
func TestRollout_OfFiveReplicasIsOneHandover_InWhateverOrderTheOldOnesStop(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	c, err := startCluster(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.plane.Stop(); err != nil {
			t.Error(err)
		}
	})
	for _, tc := range []struct {
		contender string
		surge     int
		order     []int // 0 leads when it begins
	}{
		{incumbent, 1, []int{0, 1, 2, 3, 4}},
		{incumbent, 1, []int{4, 2, 0, 1, 3}},
		{incumbent, 5, []int{0, 1, 2, 3, 4}},
		{incumbentMgr, 1, []int{0, 4, 3, 2, 1}},
		{incumbentMgr, 2, []int{1, 2, 3, 4, 0}},
	} {
		t.Run(fmt.Sprintf("%s/surge %d/%v", tc.contender, tc.surge, tc.order), func(t *testing.T) {
			f, err := newFleet(t.Context(), c, testOrders(tc.contender), len(tc.order))
			defer func() {
				if err := f.close(); err != nil {
					t.Error(err)
				}
			}()
			if err != nil {
				t.Fatal(err)
			}
			old := f.born
			r, err := f.roll(t.Context(), f.inOrder(tc.order), tc.surge, func(ctx context.Context) error {
				_, err := f.journal.Await(ctx, patience, "a new one that is heir", func(t told) bool {
					return t.What == isHeir && t.Replica > replicaName(old)
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.handovers != 1 || r.overlap {
				t.Errorf("%d handovers, want 1; two worked at once: %v\n%v", r.handovers, r.overlap, f.journal.All())
			}
		})
	}
}

func TestRolloutOf_CountsTermsAndTheTimeBetweenThem(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, 0).Add(time.Duration(ms) * time.Millisecond) }
	journal := []told{
		{"a", began, at(0)}, {"b", isReady, at(5)}, {"a", ended, at(10)},
		{"b", began, at(30)}, {"c", isHeir, at(35)},
		{"c", began, at(45)}, {"b", ended, at(40)}, // the pipes of two processes
		{"c", ended, at(50)}, {"d", began, at(49)},
	}
	if got, want := rolloutOf(journal[:7], 1), (rollout{handovers: 2, idle: 25 * time.Millisecond}); got != want {
		t.Errorf("a rollout is %+v, want %+v", got, want)
	}
	if got := rolloutOf(journal, 3); got.handovers != 1 || !got.overlap {
		t.Errorf("a rollout is %+v, want one handover, and two at work at once", got)
	}
}
