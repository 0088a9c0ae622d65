package leaderelectiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// errRefused and errReset are the errors that a real HTTP transport returns if
// a connection is refused or reset.
var (
	errRefused = &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	errReset   = &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
)

// exchange represents one request and its reply. The goroutine of the sender
// calls the methods of exchange. A request that ArriveLate delays is an exception:
// another goroutine sends the request.
type exchange struct {
	network     *Network
	connections *connections // the connections that the request uses
	ctx         context.Context
	request     Request
	number      int  // the number of earlier requests that were sent through the Network
	late        bool // true if ArriveLate has delayed the request
}

// exchangeKey is the key of the exchange in the context of a request. The
// in-memory server uses this key to find the exchange.
type exchangeKey struct{}

type roundTripper struct {
	network *Network
	next    http.RoundTripper
}

// WrappedRoundTripper returns the transport behind the Network. client-go
// calls this method.
func (t *roundTripper) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip implements [http.RoundTripper].
func (t *roundTripper) RoundTrip(h *http.Request) (*http.Response, error) {
	x := t.network.newExchange(h)
	trace := httptrace.ContextClientTrace(h.Context())
	if trace != nil && trace.GetConn != nil {
		trace.GetConn(h.URL.Host)
	}
	if err := x.passOut(); err != nil {
		closeBody(h)
		return nil, err
	}
	reply, err := x.arrive(t.next, h)
	if err != nil {
		return nil, err
	}
	if reply, err = x.passBack(reply); err != nil {
		return nil, err
	}
	if trace != nil && trace.GotFirstResponseByte != nil {
		trace.GotFirstResponseByte()
	}
	if trace != nil && trace.PutIdleConn != nil && x.request.Verb != "watch" {
		trace.PutIdleConn(nil) // the whole reply has arrived
	}
	if x.request.Verb == "watch" && reply.StatusCode == http.StatusOK {
		reply.Body = x.openWatch(reply.Body)
	}
	return reply, nil
}

// closeBody closes the body of a request that is not sent. The contract of
// [http.RoundTripper] requires this.
func closeBody(h *http.Request) {
	if h.Body != nil {
		_ = h.Body.Close()
	}
}

func (n *Network) newExchange(h *http.Request) *exchange {
	x := &exchange{network: n, ctx: h.Context(), request: readRequest(n.client, h)}
	n.mu.Lock()
	defer n.mu.Unlock()
	x.connections, x.number = n.connections, len(n.sent)
	n.sent = append(n.sent, x.request)
	return x
}

// passOut applies the faults that delay or stop a request on the way to the
// server. It returns nil when the request may be sent.
func (x *exchange) passOut() error {
	if err := x.pass(delayRequests); err != nil {
		return err
	}
	if x.request.Verb == "watch" {
		if err := x.pass(arriveLate); err != nil {
			return err
		}
	}
	return x.passCuts(errRefused)
}

// arrive sends the request to the transport next. If ArriveLate delays the
// request, arrive waits for the delay and then sends the request.
func (x *exchange) arrive(next http.RoundTripper, h *http.Request) (*http.Response, error) {
	if x.request.Verb == "watch" {
		return x.send(next, h) // passOut has already applied ArriveLate to this watch
	}
	fault := x.hit(arriveLate)
	if fault == nil {
		return x.send(next, h)
	}
	if !x.network.addLate() {
		closeBody(h)
		return nil, x.alive()
	}
	type result struct {
		reply *http.Response
		err   error
	}
	results := make(chan result, 1)
	go func() {
		defer x.network.late.Done()
		reply, err := x.sendLate(fault, next, h) //nolint:bodyclose // sendLate has read the body, and the sender closes the body
		results <- result{reply, err}
	}()
	select {
	case r := <-results:
		return r.reply, r.err
	case <-x.ctx.Done():
	case <-x.connections.broken:
	}
	return nil, x.alive()
}

// addLate registers a late request and returns true. If the Network is closed,
// addLate does not register the request and returns false. The method Close
// waits for all registered requests.
func (n *Network) addLate() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.lifetime.Err() != nil {
		return false
	}
	n.late.Add(1)
	return true
}

// sendLate waits for the delay and sends the request, even if the sender has
// given up. sendLate then reads the whole reply, because a sender that has given
// up does not read the reply.
func (x *exchange) sendLate(fault *Fault, next http.RoundTripper, h *http.Request) (*http.Response, error) {
	late := &exchange{
		network: x.network, connections: &connections{}, ctx: x.network.lifetime,
		request: x.request, number: x.number, late: true,
	}
	if err := late.wait(fault); err != nil {
		closeBody(h)
		return nil, err
	}
	reply, err := late.send(next, h)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return nil, err
	}
	if err := reply.Body.Close(); err != nil {
		return nil, err
	}
	reply.Body = io.NopCloser(bytes.NewReader(body))
	return reply, nil
}

// send sends the request to the transport next and returns the reply. If a fault
// of [Network.Fail] hits the request, send instead returns the error reply of the
// fault, and does not send the request.
func (x *exchange) send(next http.RoundTripper, h *http.Request) (*http.Response, error) {
	if fault := x.hit(fail); fault != nil {
		closeBody(h)
		return fault.reply(h, x.request), nil
	}
	return next.RoundTrip(h.WithContext(context.WithValue(x.ctx, exchangeKey{}, x)))
}

// passBack applies the faults that delay, drop or replace a reply on the way to
// the client. It returns the reply that the client gets.
func (x *exchange) passBack(reply *http.Response) (passed *http.Response, err error) {
	defer func() {
		if err != nil {
			_ = reply.Body.Close()
		}
	}()
	if fault := x.hit(failReplies); fault != nil {
		_ = reply.Body.Close()
		reply = fault.reply(reply.Request, x.request)
	}
	if err := x.pass(delayReplies); err != nil {
		return nil, err
	}
	if fault := x.hit(loseReplies); fault != nil {
		if fault.mode == Hang {
			if err := x.wait(fault); err != nil {
				return nil, err
			}
		}
		return nil, errReset
	}
	return reply, x.passCuts(errReset)
}

// pass waits for the delays of all faults of one kind, one after the other.
func (x *exchange) pass(kind faultKind) error {
	var delays []*Fault
	for _, fault := range x.network.current() {
		if x.hits(fault, kind) {
			delays = append(delays, fault)
		}
	}
	for _, fault := range delays {
		if err := x.wait(fault); err != nil {
			return err
		}
	}
	return x.alive()
}

// passCuts waits until all cuts that hit the exchange are healed. If a cut has
// the mode Refuse, passCuts returns the parameter refusal at once.
func (x *exchange) passCuts(refusal error) error {
	for {
		fault := x.hit(cut)
		if fault == nil {
			return x.alive()
		}
		if fault.mode == Refuse {
			return refusal
		}
		if err := x.wait(fault); err != nil {
			return err
		}
	}
}

// hit returns the first fault of this kind that hits the exchange. If no fault
// hits, hit returns nil.
func (x *exchange) hit(kind faultKind) *Fault {
	for _, fault := range x.network.current() {
		if x.hits(fault, kind) {
			return fault
		}
	}
	return nil
}

func (x *exchange) hits(fault *Fault, kind faultKind) bool {
	return fault.kind == kind && fault.matching(x.request, x.number) && fault.hit(x.request)
}

// wait waits for the delay of a fault. If the fault has no delay, wait waits
// until the fault is healed. If the sender gives up or the connection breaks,
// wait returns an error.
func (x *exchange) wait(fault *Fault) error {
	var expired <-chan time.Time
	healed := fault.healed
	if delays := fault.kind == delayRequests || fault.kind == delayReplies || fault.kind == arriveLate; delays && fault.delay != Forever {
		if fault.delay <= 0 {
			return x.alive()
		}
		timer := time.NewTimer(fault.delay)
		defer timer.Stop()
		expired, healed = timer.C, nil
	}
	select {
	case <-expired:
	case <-healed:
	case <-x.ctx.Done():
	case <-x.connections.broken:
	}
	return x.alive()
}

// alive returns an error if the connection is broken or the sender has given
// up.
func (x *exchange) alive() error {
	select {
	case <-x.connections.broken:
		return x.connections.err
	default:
		return context.Cause(x.ctx)
	}
}

// reply returns the error reply of this fault. The methods Fail and FailReplies
// of Network inject faults with an error reply.
func (f *Fault) reply(h *http.Request, request Request) *http.Response {
	resource := schema.GroupResource{Group: request.Group, Resource: request.Resource}
	status := apierrors.NewGenericServerResponse(f.status, request.Verb, resource, request.Name,
		"leaderelectiontest: "+http.StatusText(f.status), int(f.retryAfter/time.Second), true).Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, err := json.Marshal(status)
	if err != nil {
		panic("bug: " + err.Error())
	}
	return newResponse(h, &status, f.status, runtime.ContentTypeJSON, body)
}

// newResponse returns a response to the request h. body is the
// encoded form of the parameter object. If object is a Status with
// RetryAfterSeconds, the response has a Retry-After header.
func newResponse(h *http.Request, object runtime.Object, code int, contentType string, body []byte) *http.Response {
	header := http.Header{"Content-Type": []string{contentType}}
	if status, ok := object.(*metav1.Status); ok && status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		header.Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	return &http.Response{
		Status: strconv.Itoa(code) + " " + http.StatusText(code), StatusCode: code,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header, Request: h,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}
