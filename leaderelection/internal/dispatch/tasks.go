// Package dispatch runs goroutines and delivers to the caller's code: callbacks,
// traces and log handlers. A receiver that blocks delays only later deliveries of its
// own, never the elector.
package dispatch

import "sync"

// Tasks starts goroutines. It is the only place where an elector does. Goroutines of
// the elector are started by Run and joined by Wait, before the elector's Run returns.
// A goroutine that runs a callback of the caller is detached: the term waits for its
// end as long as it may, because a callback may refuse to return.
type Tasks struct {
	group sync.WaitGroup
}

// Run starts f in a goroutine that Wait joins.
func (t *Tasks) Run(f func()) { t.group.Go(f) }

// Wait returns when every goroutine that Run started has ended.
func (t *Tasks) Wait() { t.group.Wait() }

// Detach starts f in a goroutine that Wait does not join.
func (t *Tasks) Detach(f func()) { go f() }
