package leaderelection

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
)

// A follower tells the observer what happens to the Lease, until ctx ends. It
// only ever calls sight: nothing rests on its being right or in time.
type follower func(ctx context.Context)

// poll looks at the Lease as often as client-go does: RetryPeriod to 2.2 times
// RetryPeriod after the last answer. A leader does not poll: its writes tell it.
func (e *Elector) poll(ctx context.Context) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if e.holding() == nil {
			_ = e.read(ctx, e.config.readTimeout()) // told by trouble, and tried again
		}
	}, e.config.RetryPeriod, clientleaderelection.JitterFactor, true)
}

// holding returns our hold on the Lease, nil if there is none.
func (e *Elector) holding() *tenure {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tenure
}

// A rest is what an elector that stepped down grants the others.
type rest struct{ until time.Time }
