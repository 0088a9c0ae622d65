package leaderelectiontest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// The server answers every request with a known HTTP status.
func FuzzServer_AnswersEveryRequest(f *testing.F) {
	const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
	lease := `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"app","namespace":"default"},"spec":{}}`
	f.Add("GET", leases+"/app", "", "", "")
	f.Add("GET", leases, "fieldSelector=metadata.name%3Dapp&limit=1", "", "")
	f.Add("GET", leases, "resourceVersion=x", "", "")
	f.Add("POST", leases, "", "application/json", lease)
	f.Add("PUT", leases+"/app", "", "application/json", lease)
	f.Add("PUT", leases+"/app", "", "application/vnd.kubernetes.protobuf", "k8s\x00nonsense")
	f.Add("PATCH", leases+"/app", "", "application/merge-patch+json", `{"spec":{"holderIdentity":null,"leaseDurationSeconds":-1}}`)
	f.Add("PATCH", leases+"/app", "", "application/json-patch+json", `[{"op":"test","path":"/spec","value":{}},{"op":"remove","path":"/metadata/labels/-"}]`)
	f.Add("PATCH", leases+"/app", "", "application/strategic-merge-patch+json", `{"$patch":"replace"}`)
	f.Add("DELETE", leases+"/app", "", "application/json", `{"preconditions":{"uid":"x"}}`)
	f.Add("GET", "/api/v1/pods", "", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, contentType, body string) {
		if strings.Contains(query, "watch") || strings.Contains(query, "resourceVersion") && !strings.Contains(query, "resourceVersion=x") {
			return // skip requests for which the server waits until a resourceVersion exists
		}
		server := leaderelectiontest.NewServer()
		defer server.Close()
		client := server.Client("any")
		transport, err := rest.TransportFor(client.Config())
		if err != nil {
			t.Fatal(err)
		}
		send := func(method, path, query, contentType, body string) {
			request, err := http.NewRequestWithContext(t.Context(), method, "http://server", strings.NewReader(body))
			if err != nil {
				return // not a valid HTTP request
			}
			request.URL = &url.URL{Scheme: "http", Host: "server", Path: path, RawQuery: query}
			request.Header.Set("Content-Type", contentType)
			reply, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			defer reply.Body.Close()
			if http.StatusText(reply.StatusCode) == "" {
				t.Errorf("%s %s was answered with the status %d", method, path, reply.StatusCode)
			}
		}
		send("POST", leases, "", "application/json", lease)
		send(method, path, query, contentType, body)
	})
}
