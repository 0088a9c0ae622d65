// Package dispatch starts goroutines. It also delivers items to the caller's code:
// callbacks, traces and log handlers. If a receiver blocks, only later deliveries to
// the same receiver are delayed. The elector is never delayed.
package dispatch

import "sync"

// Tasks starts all goroutines of an elector. The method Run starts a goroutine that
// runs only code of the elector. The method Detach starts a goroutine that runs code of
// the application, such as a callback. This code may never return. Elector.Run calls
// Wait before it returns.
type Tasks struct {
	group sync.WaitGroup
}

// Run starts f in a goroutine that Wait waits for.
func (t *Tasks) Run(f func()) { t.group.Go(f) }

// Wait waits until every goroutine that Run started has ended.
func (t *Tasks) Wait() { t.group.Wait() }

// Detach starts f in a goroutine that Wait does not wait for.
func (t *Tasks) Detach(f func()) { go f() }
