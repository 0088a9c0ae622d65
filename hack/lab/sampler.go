package lab

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// SamplePeriod is the time between two calls of IsLeader.
const SamplePeriod = 5 * time.Millisecond

// frozenAfter is how long a process must have been frozen to report it.
const frozenAfter = 2 * time.Second

// A Sampler calls IsLeader all the time and reports when its answer changes.
type Sampler struct {
	// IsLeader is the method of the elector.
	IsLeader func() bool
	// Events receives Leads, Led and Woke.
	Events *Reporter
	// AfterFreeze is called in a goroutine after a leader was frozen; it may be nil.
	AfterFreeze func()
}

// Run samples until ctx ends. IsLeader returned true at least from the time of Leads,
// which is after the first call, to the time of Led, which is before the last one: a
// process that was frozen during a call must not claim to have led until it woke. Run
// samples once more after ctx has ended, because the process may have been frozen
// until then.
func (s Sampler) Run(ctx context.Context) {
	ticker := time.NewTicker(SamplePeriod)
	defer ticker.Stop()
	leading, last, lastTrue := false, time.Now(), time.Time{}
	var group sync.WaitGroup
	defer group.Wait()
	for done := false; ; {
		now := time.Now()
		answer := s.IsLeader()
		if gap := now.Sub(last); gap > frozenAfter {
			s.Events.Report(Event{At: now, Kind: Woke, Detail: fmt.Sprintf("noticed a gap of %.1f s, IsLeader() = %t", gap.Seconds(), answer)})
			if leading && s.AfterFreeze != nil {
				group.Go(s.AfterFreeze)
			}
		}
		answer = answer && !done
		switch {
		case answer && !leading:
			s.Events.Report(Event{At: time.Now(), Kind: Leads})
		case !answer && leading:
			s.Events.Report(Event{At: lastTrue, Kind: Led})
		}
		if done {
			return
		}
		if answer {
			lastTrue = now
		}
		leading, last = answer, now
		select {
		case <-ctx.Done():
			done = true
		case <-ticker.C:
		}
	}
}

// During samples while f runs.
func (s Sampler) During(f func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { s.Run(ctx) })
	err := f()
	stop()
	group.Wait()
	return err
}
