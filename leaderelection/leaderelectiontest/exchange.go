package leaderelectiontest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What a client's transport reports.
var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errReset   = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	errClosed  = errors.New("leaderelectiontest: the server is closed")
)

// exchange is one request and its reply on their way through the network. It
// runs in the goroutine of its sender.
type exchange struct {
	server  *Server
	client  *Client
	ctx     context.Context // of the HTTP request
	request *Request
	epoch   int // of the connection
}

func (c *Client) exchange(h *http.Request) (*http.Response, error) {
	request, parseErr := parseRequest(c.name, h)
	if request == nil {
		return nil, parseErr
	}
	x := &exchange{server: c.server, client: c, ctx: h.Context(), request: request}
	c.server.mu.Lock()
	c.server.requests[requestKind{c.name, request.Verb}]++
	x.epoch = c.server.epoch
	c.server.mu.Unlock()

	reply, err := x.deliver(parseErr)
	if err == nil {
		err = x.carryBack(&reply)
	}
	if err != nil {
		return nil, err
	}
	return x.response(reply, h)
}

// deliver carries the request to the server and has it applied.
func (x *exchange) deliver(parseErr error) (answer, error) {
	if err := x.pause(x.client.network.total(x.request, delayRequests), nil); err != nil {
		return answer{}, err
	}
	if err := x.passOutage(); err != nil {
		return answer{}, err
	}
	if err := x.passCuts(errRefused); err != nil {
		return answer{}, err
	}
	if parseErr != nil {
		return answerError(parseErr), nil
	}
	if fault := x.client.network.take(x.request, arriveLate); fault != nil {
		return x.arriveLate(fault.delay)
	}
	return x.arrive(), nil
}

func (x *exchange) arrive() answer {
	if fault := x.client.network.take(x.request, fail); fault != nil {
		return fault.answer(x.request)
	}
	return x.serve()
}

// arriveLate lets the request arrive whether its sender still waits or not.
func (x *exchange) arriveLate(delay time.Duration) (answer, error) {
	late := *x
	late.ctx = context.WithoutCancel(x.ctx)
	arrived := false // guarded by the server's mutex
	var reply answer
	x.server.after(delay, func() {
		result := late.arrive()
		x.server.mu.Lock()
		defer x.server.mu.Unlock()
		reply, arrived = result, true
		x.server.wakeLocked()
	})
	if err := x.pause(forever, func() bool { return arrived }); err != nil {
		return answer{}, err
	}
	if reply.watch != nil {
		reply.watch.ctx = x.ctx
	}
	return reply, nil
}

// carryBack carries the server's answer to the client.
func (x *exchange) carryBack(reply *answer) error {
	if fault := x.client.network.take(x.request, failReplies); fault != nil {
		*reply = fault.answer(x.request)
	}
	if err := x.pause(x.client.network.total(x.request, delayReplies), nil); err != nil {
		return err
	}
	if fault := x.client.network.take(x.request, loseReplies); fault != nil {
		if fault.mode == Refuse {
			return errReset
		}
		return x.pause(forever, func() bool { return false })
	}
	return x.passCuts(errReset)
}

// passCuts waits until no cut is in the way, or fails with refusal.
func (x *exchange) passCuts(refusal error) error {
	for {
		fault := x.client.network.take(x.request, cut)
		if fault == nil {
			return nil
		}
		if fault.mode == Refuse {
			return refusal
		}
		if err := x.pause(forever, func() bool { return fault.healed }); err != nil {
			return err
		}
	}
}

// passOutage waits until the server is up. A request that hung while the
// server was down is lost with it, unless the connection was made later.
func (x *exchange) passOutage() error {
	x.server.mu.Lock()
	outage := x.server.outage
	x.server.mu.Unlock()
	switch {
	case outage == nil:
		return nil
	case *outage == Refuse:
		return errRefused
	}
	return x.pause(forever, func() bool { return x.server.outage == nil })
}

const forever time.Duration = -1

// pause waits until cond holds (it is called under the server's mutex; nil
// never holds) or the time is over. It fails if the sender gives up or the
// connection breaks meanwhile.
func (x *exchange) pause(limit time.Duration, cond func() bool) error {
	var expired <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		expired = timer.C
	}
	for {
		x.server.mu.Lock()
		changed, closed, broken := x.server.changed, x.server.closed, x.server.epoch != x.epoch
		done := cond != nil && cond()
		x.server.mu.Unlock()
		switch {
		case closed:
			return errClosed
		case broken:
			return errReset
		case done, limit == 0:
			return context.Cause(x.ctx)
		}
		select {
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		case <-expired:
			return nil
		case <-changed:
		}
	}
}

// after calls f later, unless the server is closed by then.
func (s *Server) after(delay time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(delay, func() {
		s.mu.Lock()
		_, wanted := s.timers[timer]
		delete(s.timers, timer)
		down := s.outage != nil
		s.mu.Unlock()
		if wanted && !down {
			f()
		}
	})
	s.timers[timer] = struct{}{}
}

func (x *exchange) response(a answer, h *http.Request) (*http.Response, error) {
	header := http.Header{"Content-Type": []string{x.contentType()}}
	response := &http.Response{
		Status: strconv.Itoa(a.code) + " " + http.StatusText(a.code), StatusCode: a.code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: h,
	}
	if a.watch != nil {
		response.Body, response.ContentLength = a.watch, -1
		return response, nil
	}
	body, err := x.encode(a.object)
	if err != nil {
		return nil, err
	}
	if status, ok := a.object.(*metav1.Status); ok && status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		header.Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	response.Body, response.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return response, nil
}
