package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	manyElectors = 1000
	manyWindow   = 10 * time.Second // five renewals each
)

// A crowd is many electors of one process, each on a Lease of its own, over one
// clientset. All lead.
type crowd struct {
	electors []*leaderelection.Elector
	client   *client
	cancel   context.CancelFunc
	group    sync.WaitGroup
	leading  atomic.Int64 // how many work now
	lost     atomic.Int64 // how many terms have ended
}

// A footprint is what the electors of a crowd need, each.
type footprint struct {
	heap, stack, goroutines float64 // KiB, KiB, number
	start                   float64 // seconds until all led
	leading                 float64 // at the end
	lost                    float64 // terms that ended meanwhile
	renewals                float64 // a minute
}

// measureThousand counts what a thousand electors in one process need.
func (b *bench) measureThousand(ctx context.Context) (f figures, err error) {
	for _, shared := range []bool{false, true} {
		kind := "a watch each"
		if shared {
			kind = "a shared watch"
		}
		b.progress("thousand: %d electors, %s", manyElectors, kind)
		p, err := b.footprintOf(ctx, shared)
		if err != nil {
			return nil, err
		}
		f = append(f, crowdFigures(kind, p)...)
	}
	return f, nil
}

func (b *bench) footprintOf(ctx context.Context, shared bool) (p footprint, err error) {
	before, goroutines := memory(), runtime.NumGoroutine()
	began := time.Now()
	c, err := b.newCrowd(shared)
	if err != nil {
		return p, err
	}
	defer c.stop()
	for c.leading.Load() < manyElectors && time.Since(began) < patience {
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return p, err
		}
	}
	p.start = time.Since(began).Seconds()
	if err := pause(ctx, 2*defaultPace.retry); err != nil {
		return p, err
	}
	start, from := time.Now(), c.client.wire.traffic()
	if err := pause(ctx, manyWindow); err != nil {
		return p, err
	}
	sent := c.client.wire.traffic().minus(from)
	p.renewals = float64(sent.writes) / time.Since(start).Minutes() / manyElectors
	p.goroutines = float64(runtime.NumGoroutine()-goroutines) / manyElectors
	after := memory()
	p.heap = float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / 1024 / manyElectors
	p.stack = float64(int64(after.StackInuse)-int64(before.StackInuse)) / 1024 / manyElectors
	for _, e := range c.electors {
		if e.IsLeader() {
			p.leading++
		}
	}
	p.lost = float64(c.lost.Load())
	return p, nil
}

// memory is what is in use after everything that can be freed has been.
func memory() runtime.MemStats {
	runtime.GC()
	runtime.GC() // the first one leaves what lies in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m
}

func (b *bench) newCrowd(shared bool) (*crowd, error) {
	c := &crowd{client: b.cluster.client()}
	clientset := c.client.clientset()
	var options []leaderelection.Option
	if shared {
		options = append(options, leaderelection.WithSharedWatch(leaderelection.NewSharedWatch(clientset, namespace)))
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(context.Context) { c.leading.Add(1) },
		OnStoppedLeading: func() { c.leading.Add(-1); c.lost.Add(1) },
	}
	for i := range manyElectors {
		config := candidate{pace: defaultPace, lease: fmt.Sprintf("%v-%04d", shared, i), identity: "the only one"}.config()
		e, err := leaderelection.New(config, clientset, callbacks, slog.New(slog.DiscardHandler), options...)
		if err != nil {
			return nil, err
		}
		c.electors = append(c.electors, e)
	}
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(context.Background())
	for _, e := range c.electors {
		c.group.Go(func() { _ = e.Run(ctx) }) // who does not lead at the end is counted
	}
	return c, nil
}

func (c *crowd) stop() {
	c.cancel()
	c.group.Wait()
	c.client.close()
}
