package fencing

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What the API server says of a refusal, and what our policy adds to it. None of
// it is written in another way in JSON than in protobuf.
const (
	refusalMark = "ValidatingAdmissionPolicy '" + policyPrefix
	noToken     = "the write carries no token"
	laterTerm   = "the object was written in the later term "
	boundStamp  = "a binding must carry no token, for it would be put on the pod"

	// inapplicable is all that the API server says of a JSON patch that does not fit
	// the object.
	inapplicable = "the server rejected our request due to an error in our request"
)

// isRefusal knows the refusals by a policy of ours.
func isRefusal(text string) bool { return strings.Contains(text, refusalMark) }

// isLag reports whether a refusal may be due to an API server that has not heard
// of its new leader yet. What stands on the object itself is known to all.
func isLag(text string) bool {
	return isRefusal(text) && !strings.Contains(text, noToken) && !strings.Contains(text, laterTerm) && !strings.Contains(text, boundStamp)
}

// isInapplicable reports whether a JSON patch could not be applied to the object.
func isInapplicable(response *http.Response, text string) bool {
	return response.StatusCode == http.StatusUnprocessableEntity && strings.Contains(text, inapplicable)
}

// peek reads what the API server says of an error, and leaves it to be read again.
// Of a success it reads nothing. The answer is closed if it cannot be read.
func peek(response *http.Response) (string, error) {
	if response.StatusCode < http.StatusBadRequest || response.Body == nil {
		return "", nil
	}
	text, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fmt.Errorf("fencing: reading the answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(text))
	return string(text), nil
}
