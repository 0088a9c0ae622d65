package envtest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// roundTripper leads each request through the Network.
type roundTripper struct {
	network *Network
	next    http.RoundTripper
}

// WrappedRoundTripper lets client-go find the transport inside.
func (t *roundTripper) WrappedRoundTripper() http.RoundTripper { return t.next }

// RoundTrip sends the request through the Network.
func (t *roundTripper) RoundTrip(h *http.Request) (*http.Response, error) {
	f := &flight{network: t.network, ctx: h.Context(), request: describe(h)}
	if err := f.enter(); err != nil {
		return nil, dropRequest(h, err)
	}
	if answer, err := f.out(); answer != nil || err != nil {
		return answer, dropRequest(h, err)
	}
	reply, err := f.send(t.next, h)
	if err != nil {
		return nil, err
	}
	if answer, err := f.back(); answer != nil || err != nil {
		_ = reply.Body.Close()
		return answer, err
	}
	if f.request.Verb == "watch" && reply.StatusCode == http.StatusOK {
		reply.Body = f.openWatch(reply.Body)
	}
	return reply, nil
}

// dropRequest does what a RoundTripper owes to a request that it does not send.
func dropRequest(h *http.Request, err error) error {
	if h.Body != nil {
		_ = h.Body.Close()
	}
	return err
}

// flight is one request on its way to the server and back.
type flight struct {
	network *Network
	ctx     context.Context
	request Request
	mine    []*Fault // the limited ones that were there when it was made, and match it
	met     []*Fault // that have hit it
}

// enter counts the request, and notes which limited faults may hit it.
func (f *flight) enter() error {
	n := f.network
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made = append(n.made, f.request)
	for _, fault := range n.faults {
		if fault.limited && fault.match(f.request) {
			f.mine = append(f.mine, fault)
		}
	}
	return f.alive()
}

// out is the way to the server. It may end in an error, or in an answer that is
// not the server's.
func (f *flight) out() (*http.Response, error) {
	for fault := range f.obstacles(cut, delayRequests, fail) {
		fault.hit(f.request)
		switch {
		case fault.kind == fail:
			return failure(fault), nil //nolint:bodyclose // its reader closes it
		case fault.kind == cut && fault.mode == Refuse:
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		}
		if err := f.wait(fault); err != nil {
			return nil, err
		}
	}
	return nil, f.alive()
}

// back is the way of the reply, with the same ends.
func (f *flight) back() (*http.Response, error) {
	for fault := range f.obstacles(cut, delayReplies, loseReplies, failReplies) {
		fault.hit(f.request)
		switch {
		case fault.kind == failReplies:
			return failure(fault), nil //nolint:bodyclose // its reader closes it
		case fault.kind != delayReplies && fault.mode == Refuse:
			return nil, connectionReset()
		}
		if err := f.wait(fault); err != nil {
			return nil, err
		}
		if fault.kind == loseReplies {
			return nil, connectionReset()
		}
	}
	return nil, f.alive()
}

// obstacles yields the faults of these kinds that this request has yet to meet,
// those that come up meanwhile included.
func (f *flight) obstacles(kinds ...faultKind) func(yield func(*Fault) bool) {
	next := func() *Fault {
		f.network.mu.Lock()
		defer f.network.mu.Unlock()
		for _, fault := range f.network.faults {
			if slices.Contains(kinds, fault.kind) && !slices.Contains(f.met, fault) && f.meetLocked(fault) {
				return fault
			}
		}
		return nil
	}
	return func(yield func(*Fault) bool) {
		for fault := next(); fault != nil && yield(fault); {
			fault = next()
		}
	}
}

// meetLocked says whether the fault hits the request, and counts it. Only what is
// hit is counted: another fault may have been first.
func (f *flight) meetLocked(fault *Fault) bool {
	switch {
	case slices.Contains(f.met, fault):
		return true
	case !fault.limited && !fault.match(f.request):
		return false
	case fault.limited && (fault.left <= 0 || !slices.Contains(f.mine, fault)):
		return false
	}
	fault.left--
	f.met = append(f.met, fault)
	return true
}

// wait waits as long as the fault has it, and returns an error if the sender gave
// up meanwhile.
func (f *flight) wait(fault *Fault) error {
	var timeout <-chan time.Time
	if fault.kind == delayRequests || fault.kind == delayReplies || fault.kind == arriveLate {
		timer := time.NewTimer(fault.delay)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-timeout:
	case <-fault.healed:
	case <-f.ctx.Done():
	case <-f.network.life.Done():
	}
	return f.alive()
}

func (f *flight) alive() error {
	if err := context.Cause(f.network.life); err != nil {
		return err
	}
	return f.ctx.Err()
}

// failure is what an API server answers when it cannot do its work.
func failure(fault *Fault) *http.Response {
	body, err := json.Marshal(metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure,
		Code:     int32(fault.status), //nolint:gosec // a status code
		Message:  "envtest: " + http.StatusText(fault.status),
	})
	if err != nil {
		panic("bug: " + err.Error())
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if fault.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(fault.retryAfter/time.Second)))
	}
	return &http.Response{
		Status:     strconv.Itoa(fault.status) + " " + http.StatusText(fault.status),
		StatusCode: fault.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}
}

func connectionReset() error {
	return &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}
}
