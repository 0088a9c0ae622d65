package fencing

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// target is what a request to the API server is about. The zero value is none.
type target struct {
	schema.GroupResource
	subresource string
}

// targetOf takes the path of a request apart. The API server may be behind a path
// of its own.
func targetOf(path string) target {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	i := slices.IndexFunc(parts, func(p string) bool { return p == "api" || p == "apis" })
	if i < 0 {
		return target{}
	}
	var t target
	root, parts := parts[i], parts[i+1:]
	if root == "apis" && len(parts) > 0 {
		t.Group, parts = parts[0], parts[1:]
	}
	if len(parts) > 0 {
		parts = parts[1:] // the version
	}
	ofNamespace := len(parts) == 3 && (parts[2] == "status" || parts[2] == "finalize")
	if len(parts) > 2 && parts[0] == "namespaces" && !ofNamespace {
		parts = parts[2:]
	}
	if len(parts) > 0 {
		t.Resource = parts[0]
	}
	if len(parts) > 2 {
		t.subresource = strings.Join(parts[2:], "/")
	}
	return t
}

// takeBody reads what a request sends, and closes it.
func takeBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	body, err := io.ReadAll(r.Body)
	if closeErr := r.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("fencing: reading the body of %s %s: %w", r.Method, r.URL.Path, err)
	}
	return body, nil
}

// withBody returns a copy of a request that sends that.
func withBody(r *http.Request, body []byte) *http.Request {
	r = r.Clone(r.Context())
	if body == nil {
		r.Body, r.GetBody, r.ContentLength = nil, nil, 0
		return r
	}
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, _ = r.GetBody()
	r.ContentLength = int64(len(body))
	return r
}

// closeBody is what a RoundTripper owes a request that it does not send.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // nothing was read
	}
}

// isApply reports whether a request is a server-side apply.
func isApply(r *http.Request) bool {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return mediaType == string(types.ApplyYAMLPatchType) || mediaType == string(types.ApplyCBORPatchType)
}
