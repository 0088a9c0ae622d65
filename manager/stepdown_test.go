package manager_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/ptr"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A pipeListener accepts connections in memory, so that a test with fake time can use an
// HTTP server.
type pipeListener struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// get sends a GET request to the server that uses the listener.
func (l *pipeListener) get(ctx context.Context) error {
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		l.connections <- there
		return here, nil
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://operator/step-down", http.NoBody)
	if err != nil {
		return err
	}
	response, err := t.RoundTrip(r)
	if err == nil {
		err = response.Body.Close()
	}
	return err
}

// A caller of StepDown may be a part of the work that StepDown waits for. For example, an
// HTTP server stops only after its handlers have returned.
func TestStepDown_ByAPartOfTheManagerDoesNotUseUpTheGracePeriod(t *testing.T) {
	const grace = 20 * time.Second
	type key struct{}
	contexts := map[string]func(started, own context.Context) context.Context{
		"background":             func(context.Context, context.Context) context.Context { return context.Background() },
		"the context of Start":   func(started, _ context.Context) context.Context { return started },
		"its own":                func(_, own context.Context) context.Context { return own },
		"its own, not cancelled": func(_, own context.Context) context.Context { return context.WithoutCancel(own) },
		"a value": func(context.Context, context.Context) context.Context {
			return context.WithValue(context.Background(), key{}, 1)
		},
	}
	// A caller adds a Runnable to p that calls stepDown. It returns a function that makes
	// the Runnable call stepDown.
	type caller func(t *testing.T, p *process, stepDown func(own context.Context)) (call func())
	callers := map[string]caller{
		"an HTTP server of the Manager": func(t *testing.T, p *process, stepDown func(context.Context)) func() {
			l := newPipeListener()
			server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stepDown(r.Context()) })} //nolint:gosec // no network
			if err := p.Add(&crmanager.Server{Server: server, Listener: l}); err != nil {
				t.Fatal(err)
			}
			return func() { go func() { _ = l.get(context.WithoutCancel(t.Context())) }() }
		},
	}
	for kind := range kinds {
		if kind == "warm-up" {
			continue // nobody leads during a warm-up
		}
		callers["a Runnable, "+kind] = func(t *testing.T, p *process, stepDown func(context.Context)) func() {
			calls := make(chan struct{})
			if err := p.Add(kinds[kind](func(own context.Context) error {
				<-calls
				stepDown(own)
				<-own.Done()
				return nil
			})); err != nil {
				t.Fatal(err)
			}
			return func() { close(calls) }
		}
	}
	for who, add := range callers {
		for with, choose := range contexts {
			t.Run(who+"/"+with, func(t *testing.T) {
				runInMemory(t, func(t *testing.T, m memory) {
					p := m.make("a", incumbent(), func(o *crmanager.Options) { o.GracefulShutdownTimeout = ptr.To(grace) })
					started, cancel := context.WithCancel(t.Context())
					defer cancel()
					returned := make(chan struct{})
					call := add(t, p, func(own context.Context) {
						_ = p.elector().StepDown(choose(started, own))
						close(returned)
					})
					run := begin(func() error { return p.Start(started) })
					<-p.Elected()
					called := time.Now()
					call()
					<-run.done
					<-returned
					if took := time.Since(called); took > grace/2 {
						t.Errorf("Start returned after %v, want well before the grace period of %v ends", took, grace)
					}
					if !errors.Is(run.err, leaderelection.ErrSteppedDown) || errors.Is(run.err, leaderelection.ErrWorkStillRunning) || m.holder() != "" {
						t.Errorf("Start returned %v and the Lease is held by %q, want ErrSteppedDown and no holder", run.err, m.holder())
					}
				})
			})
		}
	}
}
