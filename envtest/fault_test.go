package envtest_test

import (
	"net/http"
	"testing"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

func TestNetwork_LimitedFaultsLeaveTheRestAlone(t *testing.T) {
	server, client, network := newCounter(t)
	fault := network.Cut(envtest.Refuse, envtest.Times(2), envtest.When(func(r envtest.Request) bool { return r.Path == "/x" }))
	var failed int
	for _, path := range []string{"/y", "/x", "/y", "/x", "/x"} {
		if _, err := put(t.Context(), client, server.url+path); err != nil {
			failed++
		}
	}
	if failed != 2 || fault.Hits() != 2 {
		t.Errorf("%d requests failed, %d were counted as hits, want 2", failed, fault.Hits())
	}
}

func TestNetwork_LimitedFaultsCountOnlyWhatTheyHit(t *testing.T) {
	server, client, network := newCounter(t)
	network.Fail(http.StatusServiceUnavailable, 0, envtest.Once())
	reply := network.DelayReplies(0, envtest.Once())
	for range 2 {
		if _, err := put(t.Context(), client, server.url); err != nil {
			t.Error(err)
		}
	}
	if reply.Hits() != 1 {
		t.Error("a request that another fault had answered used the fault up")
	}
}
