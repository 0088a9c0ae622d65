// Package dispatch starts goroutines. It also delivers items to the caller's code:
// callbacks, traces and log handlers. A receiver that blocks delays only later
// deliveries to the same receiver, and never the elector.
package dispatch

import "sync"

// Tasks starts the goroutines of an elector. An elector starts goroutines in no other
// way. A goroutine of the elector itself is started with Run. Wait waits for such
// goroutines before the elector's Run returns. A goroutine that calls the caller's code
// is started with Detach, because this code may never return. The elector itself
// decides how long it waits for such a goroutine.
type Tasks struct {
	group sync.WaitGroup
}

// Run starts f in a goroutine that Wait waits for.
func (t *Tasks) Run(f func()) { t.group.Go(f) }

// Wait waits until every goroutine that Run started has ended.
func (t *Tasks) Wait() { t.group.Wait() }

// Detach starts f in a goroutine that Wait does not wait for.
func (t *Tasks) Detach(f func()) { go f() }
