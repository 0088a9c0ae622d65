package envtest

import (
	"bytes"
	"context"
	"io"
	"net/http"
)

// send hands the request to the transport. One that arrives late does so without
// regard to its sender.
func (f *flight) send(next http.RoundTripper, h *http.Request) (*http.Response, error) {
	var late *Fault
	for fault := range f.obstacles(arriveLate) {
		late = fault
		break
	}
	if late == nil || !f.detach() {
		return next.RoundTrip(h)
	}
	late.hit(f.request)
	results := make(chan lateReply, 1)
	go func() {
		defer f.network.detached.Done()
		results <- f.sendLate(next, h, late)
	}()
	select {
	case r := <-results:
		return r.reply, r.err
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

type lateReply struct {
	reply *http.Response
	err   error
}

// sendLate waits, sends, and returns the reply with all of its body: nobody may
// be there to read it.
func (f *flight) sendLate(next http.RoundTripper, h *http.Request, late *Fault) lateReply {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(f.ctx))
	defer cancel(nil)
	defer context.AfterFunc(f.network.life, func() { cancel(ErrNetworkClosed) })()
	sender := &flight{network: f.network, ctx: ctx}
	if err := sender.wait(late); err != nil {
		return lateReply{err: dropRequest(h, err)}
	}
	reply, err := next.RoundTrip(h.WithContext(ctx))
	if err != nil {
		return lateReply{err: err}
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return lateReply{err: err}
	}
	if err := reply.Body.Close(); err != nil {
		return lateReply{err: err}
	}
	reply.Body = io.NopCloser(bytes.NewReader(body))
	return lateReply{reply: reply}
}

// detach lets Close wait for what outlives its sender. A watch does not.
func (f *flight) detach() bool {
	f.network.mu.Lock()
	defer f.network.mu.Unlock()
	if f.request.Verb == "watch" || f.network.life.Err() != nil {
		return false
	}
	f.network.detached.Add(1)
	return true
}
