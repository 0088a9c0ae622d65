package fencing

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"

	"k8s.io/apimachinery/pkg/types"
)

// takeBody reads and closes the body of a request. It returns nil if the request has no
// body.
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

// withBody returns a copy of r that has the given body. If body is nil, the copy has no
// body.
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

// closeBody closes the body of a request that is not sent. A RoundTripper must close
// the body of each request, even if it does not send the request.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close() // an error does not matter, because the body was not read
	}
}

// isApply reports whether a request is a server-side apply.
func isApply(r *http.Request) bool {
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return mediaType == string(types.ApplyYAMLPatchType) || mediaType == string(types.ApplyCBORPatchType)
}

// peek returns the body of an error response, and replaces response.Body with a copy
// that the caller can read. For a successful response it reads nothing and returns "".
// If peek returns an error, it has closed response.Body.
func peek(response *http.Response) (string, error) {
	if response.StatusCode < http.StatusBadRequest || response.Body == nil {
		return "", nil
	}
	text, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("fencing: reading the response: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return string(text), nil
}
