package fencing

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
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
// of its own, in which there may be an api or apis as well: then it is the first one
// after which there is no more than a resource needs, or else the first one. A path
// with api or apis in which none of that is found is not understood; others are of
// no resource.
func targetOf(path string) (t target, understood bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	understood = true
	for i, part := range parts {
		group, rest, ok := rootOf(parts[i:], i == 0)
		if !ok {
			understood = understood && part != "api" && part != "apis"
			continue
		}
		found, whole := targetIn(group, rest)
		if whole {
			return found, true
		}
		if t.Resource == "" {
			t = found
		}
	}
	return t, understood || t.Resource != ""
}

// versionForm is that of most versions. It tells the API server's own path from one
// before it; custom resources may have others, which are known at the beginning.
var versionForm = regexp.MustCompile(`^v[1-9][a-z0-9]*$`)

// rootOf returns the group that an API is of, and what follows its version.
func rootOf(parts []string, first bool) (group string, rest []string, ok bool) {
	switch {
	case parts[0] == "api" && len(parts) > 2:
		return "", parts[2:], versionForm.MatchString(parts[1])
	case parts[0] == "apis" && len(parts) > 3:
		return parts[1], parts[3:], first || versionForm.MatchString(parts[2])
	default:
		return "", nil, false
	}
}

// targetIn takes apart what follows a version. It is whole if nothing suggests that
// the API server is further behind: what is sent through the proxy of a pod, a
// service or a node is no business of ours.
func targetIn(group string, parts []string) (t target, whole bool) {
	ofNamespace := len(parts) == 3 && (parts[2] == "status" || parts[2] == "finalize")
	if len(parts) > 2 && parts[0] == "namespaces" && !ofNamespace {
		parts = parts[2:]
	}
	t.Group, t.Resource = group, parts[0]
	if len(parts) > 2 {
		t.subresource = strings.Join(parts[2:], "/")
	}
	_, _, another := rootOf(parts, false)
	return t, len(parts) <= 3 && !another || group == "" && parts[2] == "proxy"
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
