package envtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// counter is a server that counts what it has applied.
type counter struct {
	url     string
	applied atomic.Int32
	arrived chan struct{} // one for each request
}

// newCounter returns a server, and a client of it behind a network.
func newCounter(t *testing.T) (*counter, *http.Client, *envtest.Network) {
	t.Helper()
	c := &counter{arrived: make(chan struct{}, 100)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.applied.Add(1)
		c.arrived <- struct{}{}
		_, _ = io.WriteString(w, "done")
	}))
	c.url = server.URL
	network := envtest.NewNetwork()
	transport := &http.Transport{}
	t.Cleanup(func() {
		network.Close()
		transport.CloseIdleConnections()
		server.Close()
	})
	return c, &http.Client{Transport: network.RoundTripper(transport)}, network
}

// put sends a PUT, and returns what came of it.
func put(ctx context.Context, client *http.Client, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader("x"))
	if err != nil {
		return "", err
	}
	reply, err := client.Do(request)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(reply.Body)
	return reply.Status + " " + string(body), errors.Join(err, reply.Body.Close())
}

// putting sends a PUT in the background.
func putting(ctx context.Context, client *http.Client, url string) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := put(ctx, client, url)
		result <- err
	}()
	return result
}

func TestNetwork_PassesEverythingWhileWhole(t *testing.T) {
	server, client, network := newCounter(t)
	if reply, err := put(t.Context(), client, server.url); err != nil || reply != "200 OK done" {
		t.Errorf("got %q, %v", reply, err)
	}
	if got := network.Count(envtest.Any); got != 1 {
		t.Errorf("counted %d requests, want 1", got)
	}
}

func TestNetwork_CutThatHangsSendsNothingToThoseWhoGaveUp(t *testing.T) {
	server, client, network := newCounter(t)
	cut := network.Cut(envtest.Hang)
	ctx, giveUp := context.WithCancel(t.Context())
	result := putting(ctx, client, server.url)
	cut.Await(t)
	giveUp()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the sender got %v", err)
	}
	network.Heal()
	if _, err := put(t.Context(), client, server.url); err != nil {
		t.Error(err)
	}
	if got := server.applied.Load(); got != 1 {
		t.Errorf("the server applied %d requests, want the second one only", got)
	}
}

func TestNetwork_CutThatHangsSendsWhenHealed(t *testing.T) {
	server, client, network := newCounter(t)
	cut := network.Cut(envtest.Hang)
	result := putting(t.Context(), client, server.url+"/x")
	if r := cut.Await(t); r.String() != "put /x" {
		t.Errorf("held %v", r)
	}
	if got := server.applied.Load(); got != 0 {
		t.Error("the request arrived in spite of the cut")
	}
	cut.Heal()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestNetwork_CutThatRefusesAnswersAtOnce(t *testing.T) {
	server, client, network := newCounter(t)
	network.Cut(envtest.Refuse)
	if _, err := put(t.Context(), client, server.url); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v", err)
	}
	if got := server.applied.Load(); got != 0 {
		t.Error("the request arrived in spite of the cut")
	}
}

func TestNetwork_CutHoldsTheReplyOfWhatWasSentBefore(t *testing.T) {
	server, client, network := newCounter(t)
	late := network.DelayReplies(envtest.Forever)
	result := putting(t.Context(), client, server.url)
	late.Await(t)
	cut := network.Cut(envtest.Hang)
	late.Heal()
	cut.Await(t)
	cut.Heal()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestNetwork_DelaysRequests(t *testing.T) {
	server, client, network := newCounter(t)
	const delay = 50 * time.Millisecond
	network.DelayRequests(delay)
	sent := time.Now()
	if _, err := put(t.Context(), client, server.url); err != nil {
		t.Error(err)
	}
	if took := time.Since(sent); took < delay {
		t.Errorf("took %v", took)
	}
}

func TestNetwork_DelaysRepliesOfWhatTheServerApplied(t *testing.T) {
	server, client, network := newCounter(t)
	fault := network.DelayReplies(envtest.Forever)
	result := putting(t.Context(), client, server.url)
	fault.Await(t)
	if got := server.applied.Load(); got != 1 {
		t.Errorf("the server applied %d requests", got)
	}
	network.Heal()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestNetwork_LosesRepliesOfWhatTheServerApplied(t *testing.T) {
	server, client, network := newCounter(t)
	network.LoseReplies(envtest.Refuse, envtest.Once())
	if _, err := put(t.Context(), client, server.url); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	fault := network.LoseReplies(envtest.Hang)
	result := putting(t.Context(), client, server.url)
	fault.Await(t)
	if got := server.applied.Load(); got != 2 {
		t.Errorf("the server applied %d requests", got)
	}
	fault.Heal()
	if err := <-result; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("who waited for a lost reply got %v", err)
	}
}

func TestNetwork_DeliversLateRequestsOfThoseWhoGaveUp(t *testing.T) {
	server, client, network := newCounter(t)
	fault := network.ArriveLate(envtest.Forever, envtest.Once())
	ctx, giveUp := context.WithCancel(t.Context())
	result := putting(ctx, client, server.url)
	fault.Await(t)
	giveUp()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("the sender got %v", err)
	}
	fault.Heal()
	<-server.arrived
}

func TestNetwork_FailsRequestsWithAStatus(t *testing.T) {
	server, client, network := newCounter(t)
	network.Fail(http.StatusTooManyRequests, time.Second, envtest.Once())
	if reply, err := put(t.Context(), client, server.url); err != nil || !strings.HasPrefix(reply, "429 Too Many Requests {") {
		t.Errorf("got %q, %v", reply, err)
	}
	if got := server.applied.Load(); got != 0 {
		t.Error("the request arrived")
	}
	network.FailReplies(http.StatusGatewayTimeout)
	if reply, err := put(t.Context(), client, server.url); err != nil || !strings.HasPrefix(reply, "504 Gateway Timeout {") {
		t.Errorf("got %q, %v", reply, err)
	}
	if got := server.applied.Load(); got != 1 {
		t.Error("the request did not arrive")
	}
}

func TestNetwork_CloseFailsWhatIsHeld(t *testing.T) {
	server, client, network := newCounter(t)
	fault := network.Cut(envtest.Hang)
	result := putting(t.Context(), client, server.url)
	fault.Await(t)
	network.Close()
	if err := <-result; !errors.Is(err, envtest.ErrNetworkClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := put(t.Context(), client, server.url); !errors.Is(err, envtest.ErrNetworkClosed) {
		t.Errorf("after Close: got %v", err)
	}
}
