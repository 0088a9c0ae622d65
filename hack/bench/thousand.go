package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	manyElectors = 1000
	manyWindow   = 10 * time.Second // the duration of the measurement; each elector renews its Lease five times
	// usageSamples is the number of samples that measureUsage takes in one RetryPeriod.
	usageSamples = 10
	// footprintTimeout is the maximum time until a process reports its footprint.
	footprintTimeout = 3 * waitTimeout
)

// An electorGroup is a set of electors in one process. The electors share one
// clientset. Each elector leads its own Lease.
type electorGroup struct {
	electors []*leaderelection.Elector
	client   *client
	cancel   context.CancelFunc
	group    sync.WaitGroup
	leading  atomic.Int64 // the number of electors that currently lead
	lost     atomic.Int64 // the number of terms that have ended
}

// A footprint contains the measurements of one electorGroup.
type footprint struct {
	Heap, Stack, Goroutines float64 // the heap in KiB, the stacks in KiB and the goroutines, per elector
	Start                   float64 // the time in seconds until all electors led
	Leading                 float64 // the number of electors that led at the end
	Lost                    float64 // the number of terms that ended during the measurement
	Renewals                float64 // the number of renewals per elector and minute
}

// measureThousand measures the memory and the goroutines of a thousand electors in one
// process. It measures electors with separate watches, and then electors with a shared
// watch. Each measurement runs in a new process.
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
		f = append(f, electorFigures(kind, p)...)
	}
	return f, nil
}

// footprintOf starts a process with many electors. It returns the footprint that the
// process has measured. If the parameter shared is true, the electors share one watch.
func (b *bench) footprintOf(ctx context.Context, shared bool) (f footprint, err error) {
	var journal lab.Journal
	var logs lab.LogTail
	s := settings{Kubeconfig: b.cluster.Kubeconfig, Timing: defaultTiming, Electors: manyElectors, SharedWatch: shared}
	p, err := lab.StartReplica(fmt.Sprintf("electors-%t", shared), s, &logs, journal.Add)
	if err != nil {
		return f, err
	}
	defer p.Kill()
	e, err := journal.Await(ctx, footprintTimeout, "the footprint of the electors", func(e lab.Event) bool {
		return e.Kind == measured || e.Kind == lab.Exited
	})
	if err == nil && e.Kind == lab.Exited {
		err = fmt.Errorf("it has exited: %s", e.Detail)
	}
	if err != nil {
		return f, fmt.Errorf("the process with %d electors: %w\n%s", manyElectors, err, &logs)
	}
	return f, json.Unmarshal([]byte(e.Detail), &f)
}

// reportFootprint runs the electors in this process, and reports their footprint as an
// event.
func reportFootprint(ctx context.Context, config *rest.Config, s settings, events *lab.Reporter) error {
	before := measureUsage(ctx)
	began := time.Now()
	g, err := newElectorGroup(config, s)
	if err != nil {
		return err
	}
	defer g.stop()
	for g.leading.Load() < int64(s.Electors) && time.Since(began) < waitTimeout {
		if err := lab.Sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	f := footprint{Start: time.Since(began).Seconds()}
	if err := lab.Sleep(ctx, 2*s.Timing.RetryPeriod); err != nil {
		return err
	}
	start, from := time.Now(), g.client.transport.traffic()
	if err := lab.Sleep(ctx, manyWindow); err != nil {
		return err
	}
	sent, n := g.client.transport.traffic().minus(from), float64(s.Electors)
	f.Renewals = float64(sent.writes) / time.Since(start).Minutes() / n
	after := measureUsage(ctx)
	f.Goroutines = (after.goroutines - before.goroutines) / n
	f.Heap = (after.heap - before.heap) / 1024 / n
	f.Stack = (after.stack - before.stack) / 1024 / n
	for _, e := range g.electors {
		if e.IsLeader() {
			f.Leading++
		}
	}
	f.Lost = float64(g.lost.Load())
	text, err := json.Marshal(f)
	events.Report(lab.Event{Kind: measured, Detail: string(text)})
	return err
}

// A usage contains the memory of this process in bytes, and the number of goroutines.
type usage struct{ heap, stack, goroutines float64 }

// measureUsage takes several samples and returns the medians. It runs the garbage
// collector before each sample.
func measureUsage(ctx context.Context) usage {
	var heap, stack, goroutines []float64
	for range usageSamples {
		runtime.GC()
		runtime.GC() // the first call does not free the content of a sync.Pool
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		heap, stack = append(heap, float64(m.HeapAlloc)), append(stack, float64(m.StackInuse))
		goroutines = append(goroutines, float64(runtime.NumGoroutine()))
		_ = lab.Sleep(ctx, defaultTiming.RetryPeriod/usageSamples)
	}
	return usage{summarize(heap).Median, summarize(stack).Median, summarize(goroutines).Median}
}

func newElectorGroup(config *rest.Config, s settings) (*electorGroup, error) {
	g := &electorGroup{client: newClient(config)}
	clientset := g.client.clientset()
	var options []leaderelection.Option
	if s.SharedWatch {
		options = append(options, leaderelection.WithSharedWatch(leaderelection.NewSharedWatch(clientset, namespace)))
	}
	callbacks := leaderelection.Callbacks{
		OnStartedLeading: func(context.Context) { g.leading.Add(1) },
		OnStoppedLeading: func() { g.leading.Add(-1); g.lost.Add(1) },
	}
	for i := range s.Electors {
		spec := candidateSpec{timing: s.Timing, lease: fmt.Sprintf("%v-%04d", s.SharedWatch, i), identity: "only-candidate"}
		e, err := leaderelection.New(spec.config(), clientset, callbacks, slog.New(slog.DiscardHandler), options...)
		if err != nil {
			return nil, err
		}
		g.electors = append(g.electors, e)
	}
	var ctx context.Context
	ctx, g.cancel = context.WithCancel(context.Background())
	for _, e := range g.electors {
		g.group.Go(func() { _ = e.Run(ctx) }) // ignore the error, because reportFootprint counts the leaders at the end
	}
	return g, nil
}

func (g *electorGroup) stop() {
	g.cancel()
	g.group.Wait()
	g.client.close()
}
