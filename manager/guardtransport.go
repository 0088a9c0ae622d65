package manager

import (
	"net/http"
	"slices"
	"strings"
)

// GuardTransport is GuardClient for everything that speaks to the API server
// through next, such as a typed clientset:
//
//	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
//		return manager.GuardTransport(elector, next)
//	})
//
// The context that counts is the request's.
func GuardTransport(leadership Leadership, next http.RoundTripper) http.RoundTripper {
	return guardTransport{next, leadership}
}

type guardTransport struct {
	next       http.RoundTripper
	leadership Leadership
}

// RoundTrip sends a request, or refuses it.
func (g guardTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if isWrite(r) {
		if why := mayWrite(r.Context(), g.leadership); why != nil {
			if r.Body != nil {
				_ = r.Body.Close() // a RoundTripper must, and nothing was read
			}
			return nil, refusal(r.Method+" "+r.URL.Path, why)
		}
	}
	return g.next.RoundTrip(r)
}

// WrappedRoundTripper lets client-go find the transport underneath.
func (g guardTransport) WrappedRoundTripper() http.RoundTripper { return g.next }

// isWrite reports whether a request may change something that matters.
func isWrite(r *http.Request) bool {
	group, resource, subresource := parsePath(r.URL.Path)
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return slices.Contains([]string{"exec", "attach", "portforward"}, subresource)
	}
	return !freeGroups[group] && (group != "" || resource != "events")
}

// parsePath takes the path of an API request apart. What is not one has neither
// group nor resource. The API server may be behind a path of its own.
func parsePath(path string) (group, resource, subresource string) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	i := slices.IndexFunc(parts, func(p string) bool { return p == "api" || p == "apis" })
	if i < 0 {
		return "", "", ""
	}
	root := parts[i]
	parts = parts[i+1:]
	if root == "apis" && len(parts) > 0 {
		group, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 {
		parts = parts[1:] // the version
	}
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	parts = append(parts, "", "", "")
	return group, parts[0], parts[2]
}
