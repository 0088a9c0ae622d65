package leaderelectiontest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// networked runs a test with a Network in front of an API server.
type networked struct {
	*testing.T
	network *leaderelectiontest.Network
	client  *http.Client
	applied func() int               // returns how many writes the server has applied
	settle  func(want int)           // waits until the server has applied this number of writes
	version func(name string) string // returns the resourceVersion that the next write of the named Lease must contain
}

// onEachServer runs a test twice: on the in-memory server in fake time, and on
// an HTTP server with real connections in real time.
func onEachServer(t *testing.T, test func(*networked)) {
	t.Run("in memory", func(t *testing.T) {
		bubble(t, func(t *testing.T, server *leaderelectiontest.Server) {
			for _, name := range []string{"x", "y"} {
				l := lease("nobody")
				l.Name = name
				if _, err := server.Put(l); err != nil {
					t.Fatal(err)
				}
			}
			before := len(server.History())
			client := server.Client("pod-1")
			transport, err := rest.TransportFor(client.Config())
			if err != nil {
				t.Fatal(err)
			}
			applied := func() int { return len(server.History()) - before }
			test(&networked{
				T: t, network: client.Network(), client: &http.Client{Transport: transport}, applied: applied,
				settle: func(want int) {
					synctest.Wait()
					if got := applied(); got != want {
						t.Errorf("the server applied %d writes, want %d", got, want)
					}
				},
				version: func(name string) string {
					l, err := server.Get("default", name)
					if err != nil {
						t.Fatal(err)
					}
					return l.ResourceVersion
				},
			})
		})
	})
	t.Run("real connections", func(t *testing.T) {
		var applied atomic.Int32
		arrived := make(chan struct{}, 100)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			applied.Add(1)
			arrived <- struct{}{}
			_, _ = io.WriteString(w, "{}")
		}))
		network, transport := leaderelectiontest.NewNetwork(), &http.Transport{}
		t.Cleanup(func() {
			network.Close()
			transport.CloseIdleConnections()
			server.Close()
		})
		send := network.RoundTripper(redirect{transport, strings.TrimPrefix(server.URL, "http://")})
		test(&networked{
			T: t, network: network, client: &http.Client{Transport: send},
			applied: func() int { return int(applied.Load()) },
			settle: func(want int) {
				for range want {
					<-arrived
				}
			},
			version: func(string) string { return "1" },
		})
	})
}

// redirect sends all requests to one host.
type redirect struct {
	next http.RoundTripper
	host string
}

func (r redirect) RoundTrip(h *http.Request) (*http.Response, error) {
	h = h.Clone(h.Context())
	h.URL.Host = r.host
	return r.next.RoundTrip(h)
}

// put writes the Lease with this name and returns the HTTP status of the reply.
func (n *networked) put(ctx context.Context, name string) (status string, err error) {
	url := "http://server.invalid/apis/coordination.k8s.io/v1/namespaces/default/leases/" + name
	body := fmt.Sprintf(`{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":%q,"resourceVersion":%q},"spec":{"leaseDurationSeconds":%d}}`,
		name, n.version(name), 1+n.network.Count(leaderelectiontest.Any))
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	reply, err := n.client.Do(request)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(reply.Body)
	if len(content) == 0 || content[0] != '{' {
		n.Errorf("the body of the reply is %q", content)
	}
	return reply.Status, errors.Join(err, reply.Body.Close())
}

// startPut calls put in the background. The returned channel
// delivers the error of put.
func (n *networked) startPut(ctx context.Context) <-chan error {
	result := make(chan error, 1)
	go func() {
		_, err := n.put(ctx, "x")
		result <- err
	}()
	return result
}

func (n *networked) expectApplied(want int) {
	n.Helper()
	if got := n.applied(); got != want {
		n.Errorf("the server applied %d writes, want %d", got, want)
	}
}

func (n *networked) expectError(got, want error) {
	n.Helper()
	if !errors.Is(got, want) {
		n.Errorf("the sender got %v, want %v", got, want)
	}
}

func TestNetwork_WithoutFaultsPassesEverything(t *testing.T) {
	onEachServer(t, func(n *networked) {
		if status, err := n.put(n.Context(), "x"); err != nil || status != "200 OK" {
			n.Errorf("got %q, %v", status, err)
		}
		if got := n.network.Count(leaderelectiontest.Any); got != 1 {
			n.Errorf("counted %d requests, want 1", got)
		}
		n.expectApplied(1)
	})
}

func TestNetwork_HangingCutNeverSendsARequestWhoseSenderGaveUp(t *testing.T) {
	onEachServer(t, func(n *networked) {
		cut := n.network.Cut(leaderelectiontest.Hang)
		ctx, cancel := context.WithCancel(n.Context())
		result := n.startPut(ctx)
		cut.Await(n)
		cancel()
		n.expectError(<-result, context.Canceled)
		n.network.Heal()
		_, err := n.put(n.Context(), "x")
		n.expectError(err, nil)
		n.expectApplied(1)
	})
}

func TestNetwork_HangingCutSendsTheRequestWhenItIsHealed(t *testing.T) {
	onEachServer(t, func(n *networked) {
		cut := n.network.Cut(leaderelectiontest.Hang)
		result := n.startPut(n.Context())
		if r := cut.Await(n); r.String() != "update /apis/coordination.k8s.io/v1/namespaces/default/leases/x" {
			n.Errorf("held %v", r)
		}
		n.expectApplied(0)
		cut.Heal()
		n.expectError(<-result, nil)
		n.expectApplied(1)
	})
}

func TestNetwork_RefusingCutFailsRequestsAtOnce(t *testing.T) {
	onEachServer(t, func(n *networked) {
		n.network.Cut(leaderelectiontest.Refuse)
		_, err := n.put(n.Context(), "x")
		n.expectError(err, syscall.ECONNREFUSED)
		n.expectApplied(0)
	})
}

func TestNetwork_CutHoldsTheReplyToARequestThatWasSentBefore(t *testing.T) {
	onEachServer(t, func(n *networked) {
		late := n.network.DelayReplies(leaderelectiontest.Forever)
		result := n.startPut(n.Context())
		late.Await(n)
		cut := n.network.Cut(leaderelectiontest.Hang)
		late.Heal()
		cut.Await(n)
		cut.Heal()
		n.expectError(<-result, nil)
	})
}

func TestNetwork_DelaysRequests(t *testing.T) {
	onEachServer(t, func(n *networked) {
		const delay = 50 * time.Millisecond
		n.network.DelayRequests(delay)
		sent := time.Now()
		_, err := n.put(n.Context(), "x")
		n.expectError(err, nil)
		if took := time.Since(sent); took < delay {
			n.Errorf("took %v", took)
		}
	})
}

func TestNetwork_DelaysTheReplyToAWriteThatTheServerApplied(t *testing.T) {
	onEachServer(t, func(n *networked) {
		fault := n.network.DelayReplies(leaderelectiontest.Forever)
		result := n.startPut(n.Context())
		fault.Await(n)
		n.expectApplied(1)
		n.network.Heal()
		n.expectError(<-result, nil)
	})
}

func TestNetwork_LosesTheReplyToAWriteThatTheServerApplied(t *testing.T) {
	onEachServer(t, func(n *networked) {
		n.network.LoseReplies(leaderelectiontest.Refuse, leaderelectiontest.Once())
		_, err := n.put(n.Context(), "x")
		n.expectError(err, syscall.ECONNRESET)
		fault := n.network.LoseReplies(leaderelectiontest.Hang)
		result := n.startPut(n.Context())
		fault.Await(n)
		n.expectApplied(2)
		fault.Heal()
		n.expectError(<-result, syscall.ECONNRESET) // a lost reply is never delivered
	})
}

func TestNetwork_LateRequestsArriveAfterTheirSenderGaveUp(t *testing.T) {
	onEachServer(t, func(n *networked) {
		fault := n.network.ArriveLate(leaderelectiontest.Forever, leaderelectiontest.Once())
		ctx, cancel := context.WithCancel(n.Context())
		result := n.startPut(ctx)
		fault.Await(n)
		cancel()
		n.expectError(<-result, context.Canceled)
		n.expectApplied(0)
		fault.Heal()
		n.settle(1)
	})
}

func TestNetwork_FailsRequestsWithAStatus(t *testing.T) {
	onEachServer(t, func(n *networked) {
		n.network.Fail(http.StatusTooManyRequests, time.Second, leaderelectiontest.Once())
		if status, err := n.put(n.Context(), "x"); err != nil || status != "429 Too Many Requests" {
			n.Errorf("got %q, %v", status, err)
		}
		n.expectApplied(0)
		n.network.FailReplies(http.StatusGatewayTimeout)
		if status, err := n.put(n.Context(), "x"); err != nil || status != "504 Gateway Timeout" {
			n.Errorf("got %q, %v", status, err)
		}
		n.expectApplied(1)
	})
}

func TestNetwork_CloseFailsRequestsThatAreHeldAndLaterOnes(t *testing.T) {
	onEachServer(t, func(n *networked) {
		cut := n.network.Cut(leaderelectiontest.Hang)
		result := n.startPut(n.Context())
		cut.Await(n)
		n.network.Close()
		n.expectError(<-result, leaderelectiontest.ErrNetworkClosed)
		_, err := n.put(n.Context(), "x")
		n.expectError(err, leaderelectiontest.ErrNetworkClosed)
	})
}

func TestNetwork_CloseEndsLateRequests(t *testing.T) {
	onEachServer(t, func(n *networked) {
		fault := n.network.ArriveLate(leaderelectiontest.Forever)
		result := n.startPut(n.Context())
		fault.Await(n)
		n.network.Close()
		n.expectError(<-result, leaderelectiontest.ErrNetworkClosed)
		n.expectApplied(0)
	})
}

func TestFault_LimitedByTimesHitsOnlySoManyRequests(t *testing.T) {
	onEachServer(t, func(n *networked) {
		fault := n.network.Cut(leaderelectiontest.Refuse, leaderelectiontest.Times(2), leaderelectiontest.Named("x"))
		failed := 0
		for _, name := range []string{"y", "x", "y", "x", "x"} {
			if _, err := n.put(n.Context(), name); err != nil {
				failed++
			}
		}
		if failed != 2 || fault.Hits() != 2 {
			n.Errorf("%d requests failed, %d were counted as hits, want 2", failed, fault.Hits())
		}
	})
}

func TestFault_LimitedByTimesSparesRequestsThatAreUnderWay(t *testing.T) {
	onEachServer(t, func(n *networked) {
		late := n.network.DelayReplies(leaderelectiontest.Forever)
		result := n.startPut(n.Context())
		late.Await(n)
		cut := n.network.Cut(leaderelectiontest.Refuse, leaderelectiontest.Once())
		late.Heal()
		n.expectError(<-result, nil)
		_, err := n.put(n.Context(), "x")
		n.expectError(err, syscall.ECONNREFUSED)
		if cut.Hits() != 1 {
			n.Errorf("%d hits", cut.Hits())
		}
	})
}

// Two faults have the option Times and match the same requests. If the first
// fault answers a request, the request does not count as a hit of the second
// fault.
func TestFault_LimitedByTimesCountsOnlyTheRequestsThatItHits(t *testing.T) {
	onEachServer(t, func(n *networked) {
		var faults []*leaderelectiontest.Fault
		for _, status := range []int{http.StatusServiceUnavailable, http.StatusTooManyRequests} {
			faults = append(faults, n.network.Fail(status, 0, leaderelectiontest.Once()))
		}
		reply := n.network.DelayReplies(0, leaderelectiontest.Once())
		var got []string
		for range 3 {
			status, err := n.put(n.Context(), "x")
			n.expectError(err, nil)
			got = append(got, status)
		}
		if diff := cmp.Diff([]string{"503 Service Unavailable", "429 Too Many Requests", "200 OK"}, got); diff != "" {
			n.Errorf("(-want +got):\n%s", diff)
		}
		for _, fault := range append(faults, reply) {
			if fault.Hits() != 1 {
				n.Errorf("a fault limited to one request counted %d hits", fault.Hits())
			}
		}
	})
}

var ignoreObject = cmpopts.IgnoreFields(leaderelectiontest.Request{}, "Object", "Lease", "Sent")
