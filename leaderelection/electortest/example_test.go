package electortest_test

import (
	"context"
	"fmt"
	"sync"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/electortest"
)

// This example tests what code does when it loses leadership.
func Example() {
	elector, err := electortest.New(nil, leaderelection.Callbacks{
		OnStartedLeading: func(ctx context.Context) {
			fmt.Println("working")
			<-ctx.Done()
			fmt.Println("stopping:", context.Cause(ctx))
		},
		OnStoppedLeading: func() { fmt.Println("stopped") },
	})
	if err != nil {
		panic(err)
	}
	defer elector.Close()

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = elector.Run(ctx) })

	if err := elector.Lead(ctx); err != nil {
		panic(err)
	}
	if err := elector.Overtake(ctx, "pod-2"); err != nil {
		panic(err)
	}
	fmt.Println("leading:", elector.IsLeader(), "leader:", elector.GetLeader())
	cancel()
	running.Wait()

	// Unordered output:
	// working
	// stopping: leaderelection: another holder was written into the Lease
	// stopped
	// leading: false leader: pod-2
}
