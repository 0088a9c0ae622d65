package leaderelectiontest

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// watchBody is the body of the reply to a watch. While a fault holds the watch,
// watchBody delivers no events. A watchBody has no goroutine. The method Read
// waits until the faults are healed.
type watchBody struct {
	exchange *exchange
	inner    io.ReadCloser
	reader   *bufio.Reader // reads from inner
	taken    []*Fault      // faults with the option Times that have counted this watch as a hit

	once   sync.Once
	closed chan struct{}
	err    error // the reason why the watch ended
}

// timedBody is the body of a watch. It records the time of each event.
type timedBody interface {
	// happened returns the time of the events that the most recent call of Read
	// returned.
	happened() time.Time
}

func (x *exchange) openWatch(inner io.ReadCloser) io.ReadCloser {
	b := &watchBody{exchange: x, inner: inner, reader: bufio.NewReader(inner), closed: make(chan struct{})}
	x.network.mu.Lock()
	x.network.watches = append(x.network.watches, b)
	x.network.mu.Unlock()
	// End the watch if its connections broke before the watch was added to
	// network.watches.
	if err := x.alive(); err != nil {
		b.end(err)
	}
	return b
}

// Read returns the events that have arrived. While a fault holds the watch,
// Read returns neither events nor the end of the watch.
func (b *watchBody) Read(p []byte) (int, error) {
	if b.reader.Buffered() == 0 {
		_, ended := b.reader.Peek(1)
		if err := b.hold(); err != nil {
			return 0, err
		}
		if ended != nil {
			return 0, ended
		}
	}
	return b.reader.Read(p)
}

// hold waits until no fault holds the events that have arrived. If the watch
// ends first, hold returns an error.
func (b *watchBody) hold() error {
	arrived := time.Now()
	if timed, ok := b.inner.(timedBody); ok {
		arrived = timed.happened()
	}
	var counted []*Fault
	for {
		changed := b.exchange.network.change() // call change before evaluating the faults, so that no change is missed
		select {
		case <-b.closed:
			return b.err
		default:
		}
		held, refused, delay := b.faults(&counted)
		if refused {
			return errReset
		}
		remaining := time.Until(arrived.Add(delay))
		if !held && remaining <= 0 {
			return nil
		}
		if err := b.wait(changed, held, remaining); err != nil {
			return err
		}
	}
}

// wait waits until the faults change or the watch is closed. If the parameter
// held is false, wait waits at most for the duration remaining.
func (b *watchBody) wait(changed <-chan struct{}, held bool, remaining time.Duration) error {
	var expired <-chan time.Time
	if !held {
		timer := time.NewTimer(remaining)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-expired:
	case <-changed:
	case <-b.closed:
	case <-b.exchange.ctx.Done():
		return context.Cause(b.exchange.ctx)
	}
	return nil
}

// faults returns the effects of the current faults on the watch. If a fault
// holds the events, the result held is true. If a fault ends the watch, the
// result refused is true. delay is the sum of all delays. The
// parameter counted lists the faults that have counted a hit for the current
// batch of events. faults adds the faults that now count a hit.
func (b *watchBody) faults(counted *[]*Fault) (held, refused bool, delay time.Duration) {
	for _, fault := range b.exchange.network.current() {
		if fault.kind != cut && fault.kind != stallWatches && fault.kind != delayWatches {
			continue
		}
		if !slices.Contains(*counted, fault) {
			if !b.hit(fault) {
				continue
			}
			*counted = append(*counted, fault)
		}
		switch {
		case fault.kind == delayWatches:
			delay += fault.delay
		case fault.mode == Refuse:
			refused = true
		default:
			held = true
		}
	}
	return held, refused, delay
}

// hit reports whether the fault affects the watch. If it does, hit counts this.
// A fault with the option Times counts each watch at most once.
func (b *watchBody) hit(fault *Fault) bool {
	if slices.Contains(b.taken, fault) {
		return !fault.isHealed()
	}
	if !fault.matching(b.exchange.request, b.exchange.number) || !fault.hit(b.exchange.request) {
		return false
	}
	if fault.limited {
		b.taken = append(b.taken, fault)
	}
	return true
}

// Close ends the watch. A waiting call of Read returns an error.
func (b *watchBody) Close() error {
	b.end(http.ErrBodyReadAfterClose)
	return nil
}

func (b *watchBody) end(err error) {
	b.once.Do(func() {
		b.err = err
		close(b.closed)
		_ = b.inner.Close()
		n := b.exchange.network
		n.mu.Lock()
		defer n.mu.Unlock()
		n.watches = slices.DeleteFunc(n.watches, func(other *watchBody) bool { return other == b })
	})
}
