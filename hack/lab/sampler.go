package lab

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// SamplePeriod is the time between two calls of IsLeader by a Sampler.
const SamplePeriod = 5 * time.Millisecond

// frozenAfter is the maximum time between two calls of IsLeader. After a longer time, a
// Sampler reports a freeze of the process.
const frozenAfter = 2 * time.Second

// A Sampler calls IsLeader every SamplePeriod and reports when the result changes.
type Sampler struct {
	// IsLeader is the method IsLeader of an Elector.
	IsLeader func() bool
	// Events receives the events Leads, Led and Woke.
	Events *Reporter
	// AfterFreeze is called in a new goroutine when the Sampler detects a freeze of the
	// process. It is called only if IsLeader returned true before the freeze.
	// AfterFreeze may be nil.
	AfterFreeze func()
}

// Run calls IsLeader every SamplePeriod until ctx is done.
//
// Run reports the event Leads after the first call that returned true. It reports the
// event Led when IsLeader returns false again, or when ctx is done. The time of Led is
// the time before the last call that returned true. Therefore the replica certainly led
// from the time of Leads to the time of Led.
//
// After ctx is done, Run calls IsLeader once more. Therefore Run also detects a freeze
// that has just ended.
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

// During runs the Sampler while it calls f. It returns the error of f.
func (s Sampler) During(f func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { s.Run(ctx) })
	err := f()
	stop()
	group.Wait()
	return err
}
