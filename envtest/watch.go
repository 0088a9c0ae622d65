package envtest

import (
	"io"
	"net/http"
	"sync"
)

// watchBody is the stream of an open watch.
type watchBody struct {
	flight *flight
	inner  io.ReadCloser

	closed chan struct{}
	once   sync.Once
	err    error // why it was closed; read it after closed is
}

func (f *flight) openWatch(inner io.ReadCloser) io.ReadCloser {
	body := &watchBody{flight: f, inner: inner, closed: make(chan struct{})}
	f.network.mu.Lock()
	f.network.watches[body] = f.request
	f.network.mu.Unlock()
	// Close may have looked for open watches before this one was among them.
	if err := f.alive(); err != nil {
		body.fail(err)
	}
	return body
}

// Read delivers what comes, but holds it while the network does.
func (b *watchBody) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	if held := b.hold(); held != nil {
		return 0, held
	}
	return n, err
}

func (b *watchBody) hold() error {
	for held := false; ; held = true {
		fault, changed := b.obstacle()
		if fault != nil && !held {
			fault.hit(b.flight.request)
		}
		select {
		case <-b.closed:
			return b.err
		default:
		}
		if fault == nil {
			return nil
		}
		select {
		case <-changed:
		case <-b.closed:
		case <-b.flight.ctx.Done():
			return b.flight.ctx.Err()
		}
	}
}

// obstacle returns the fault that holds what was read, if there is one, and a
// channel that is closed when that may have changed. A cut that refuses is none:
// it ends the watch.
func (b *watchBody) obstacle() (*Fault, <-chan struct{}) {
	n := b.flight.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, fault := range n.faults {
		holds := fault.kind == stallWatches || fault.kind == cut && fault.mode == Hang && !fault.limited
		if holds && b.flight.meetLocked(fault) {
			return fault, n.changed
		}
	}
	return nil, nil
}

// Close ends the watch, also while a Read is held.
func (b *watchBody) Close() error {
	b.fail(http.ErrBodyReadAfterClose)
	return nil
}

func (b *watchBody) fail(err error) {
	b.once.Do(func() {
		b.err = err
		close(b.closed)
		_ = b.inner.Close()
		b.flight.network.mu.Lock()
		defer b.flight.network.mu.Unlock()
		delete(b.flight.network.watches, b)
	})
}
