// Package dispatch starts goroutines. It also delivers items to the caller's code:
// callbacks, traces and log handlers. If a receiver blocks, only later deliveries to
// the same receiver are delayed. The elector is never delayed.
package dispatch

import "sync"

// Tasks starts the goroutines of an elector. An elector starts all goroutines through
// Tasks. The method Run starts a goroutine that runs only the elector's own code. The
// method Detach starts a goroutine that calls the caller's code, because this code may
// never return. Elector.Run calls Wait before it returns.
type Tasks struct {
	group sync.WaitGroup
}

// Run starts f in a goroutine that Wait waits for.
func (t *Tasks) Run(f func()) { t.group.Go(f) }

// Wait waits until every goroutine that Run started has ended.
func (t *Tasks) Wait() { t.group.Wait() }

// Detach starts f in a goroutine that Wait does not wait for.
func (t *Tasks) Detach(f func()) { go f() }
