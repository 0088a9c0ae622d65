package leaderelectiontest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/apipath"
)

// freshnessTimeout is how long a read waits for a resourceVersion that the
// server has not reached yet. A real API server waits for the same time.
const freshnessTimeout = 3 * time.Second

var errServerClosed = errors.New("leaderelectiontest: the server is closed")

// serverTransport carries requests from a client's [Network] to the Server. The
// Server handles a request in the goroutine of the sender.
type serverTransport struct{ client *Client }

// call is one request that the server handles.
type call struct {
	*Request
	server *Server
	client *Client
	ctx    context.Context
	epoch  int // Server.epoch at the arrival of the request

	query       url.Values
	body        []byte
	contentType string
	protobuf    bool // true if the client prefers protobuf to JSON
}

// RoundTrip implements [http.RoundTripper].
func (t serverTransport) RoundTrip(h *http.Request) (*http.Response, error) {
	x, ok := h.Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		panic("bug: a request to the in-memory server did not pass its Network")
	}
	request := x.request
	c := &call{
		Request: &request, server: t.client.server, client: t.client, ctx: h.Context(),
		query: h.URL.Query(), contentType: h.Header.Get("Content-Type"), protobuf: acceptsProtobuf(h.Header),
	}
	if h.Body != nil {
		var err error
		c.body, err = io.ReadAll(h.Body)
		_ = h.Body.Close()
		if err != nil {
			return nil, err
		}
	}
	if err := c.reachServer(x.late); err != nil {
		return nil, err
	}
	a := answer{}
	if err := c.check(h); err != nil {
		a = answerError(err)
	} else {
		a = c.serve()
	}
	if a.watch != nil {
		response := newResponse(h, nil, a.code, c.mediaType(), nil)
		response.Body, response.ContentLength = a.watch, -1
		return response, nil
	}
	body, err := c.encode(a.object)
	if err != nil {
		return nil, err
	}
	return newResponse(h, a.object, a.code, c.mediaType(), body), nil
}

// reachServer waits until the server is up. During an outage with the mode
// Refuse, reachServer returns an error at once. If the parameter late is true,
// reachServer returns an error at once during every outage.
func (c *call) reachServer(late bool) error {
	c.server.mu.Lock()
	outage := c.server.outage
	c.epoch = c.server.epoch
	c.server.mu.Unlock()
	if outage != nil && (late || *outage == Refuse) {
		return errRefused
	}
	_, err := c.wait(nil, func() bool { return c.server.outage == nil })
	return err
}

// wait waits until cond returns true, and then returns true. If
// timeout delivers a value first, wait returns false. If the sender
// gives up, the connections break or the server is closed, wait returns an
// error. During a call of cond, wait holds the server's mutex.
func (c *call) wait(timeout <-chan time.Time, cond func() bool) (bool, error) {
	for {
		c.server.mu.Lock()
		changed, closed, broken := c.server.changed, c.server.closed, c.server.epoch != c.epoch
		done := cond()
		c.server.mu.Unlock()
		switch {
		case closed:
			return false, errServerClosed
		case broken:
			return false, errReset
		case done:
			return true, context.Cause(c.ctx)
		}
		select {
		case <-c.ctx.Done():
			return false, context.Cause(c.ctx)
		case <-timeout:
			return false, nil
		case <-changed:
		}
	}
}

// check returns an API error if the server does not support the request. For a
// create or an update, check also decodes the Lease.
func (c *call) check(h *http.Request) error {
	path := apipath.Parse(h.Method, h.URL)
	collection := path.Prefix + "/apis/" + coordinationv1.SchemeGroupVersion.String()
	if path.Namespace != "" {
		collection += "/namespaces/" + path.Namespace
	}
	collection += "/leases"
	one := c.Path != collection
	if one && (path.Namespace == "" || c.Path != collection+"/"+path.Name) {
		return &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
			Message: "the server could not find the requested resource (leaderelectiontest serves only Leases, not " + c.Path + ")",
		}}
	}
	onOne := c.Verb == "get" || c.Verb == "update" || c.Verb == "patch" || c.Verb == "delete"
	onSeveral := c.Verb == "list" || c.Verb == "watch" || c.Verb == "create"
	if h.Method == http.MethodHead || one && !onOne || !one && !onSeveral {
		return apierrors.NewMethodNotSupported(leaseResource, h.Method)
	}
	if c.query.Get("dryRun") != "" {
		return apierrors.NewBadRequest("leaderelectiontest does not serve dry runs")
	}
	if c.Verb == "create" || c.Verb == "update" {
		return c.checkLease()
	}
	return nil
}

func (c *call) checkLease() error {
	if c.Lease == nil {
		object, _, err := metav1Decoder.Decode(c.body, nil, nil)
		if err != nil {
			return apierrors.NewBadRequest(err.Error())
		}
		lease, ok := object.(*coordinationv1.Lease)
		if !ok {
			return apierrors.NewBadRequest("not a Lease of coordination.k8s.io/v1")
		}
		lease.TypeMeta = metav1.TypeMeta{}
		c.Lease = lease
	}
	if c.Verb == "create" {
		c.Name = c.Lease.Name
	}
	if c.Lease.Name != c.Name {
		return apierrors.NewBadRequest("the name of the object (" + c.Lease.Name + ") does not match the name on the URL (" + c.Name + ")")
	}
	if c.Lease.Namespace != "" && c.Lease.Namespace != c.Namespace {
		return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	return nil
}

func (c *call) key() types.NamespacedName {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.Name}
}

func (c *call) by() author { return author{c.Client, c.Verb} }

// answer is the server's answer to a request. It contains either an object, or
// an error, or a watch.
type answer struct {
	code   int
	object runtime.Object
	watch  *watchStream
}

func answerError(err error) answer {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	s := status.Status()
	s.APIVersion, s.Kind = "v1", "Status"
	return answer{code: int(s.Code), object: &s}
}

func answerLease(code int, lease *coordinationv1.Lease, err error) answer {
	if err != nil {
		return answerError(err)
	}
	return answer{code: code, object: withKind(lease)}
}

// withKind returns a copy of the Lease with the fields apiVersion and kind.
// Each reply must contain these fields.
func withKind(lease *coordinationv1.Lease) *coordinationv1.Lease {
	lease = lease.DeepCopy()
	lease.APIVersion, lease.Kind = coordinationv1.SchemeGroupVersion.String(), "Lease"
	return lease
}

// serve checks the client's rights, applies the request and returns the answer.
func (c *call) serve() answer {
	if err := c.authorize(c.Verb); err != nil {
		return answerError(err)
	}
	switch c.Verb {
	case "get", "list", "watch":
		return c.serveRead()
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	switch c.Verb {
	case "create":
		if c.Lease.ResourceVersion != "" && c.Lease.ResourceVersion != "0" {
			return answerError(apierrors.NewInternalError(fmt.Errorf("resourceVersion should not be set on objects to be created")))
		}
		lease, err := c.server.createLocked(c.by(), c.key(), c.Lease)
		return answerLease(http.StatusCreated, lease, err)
	case "update":
		if c.server.leases[c.key()] == nil {
			if err := c.authorizeLocked("create"); err != nil {
				return answerError(err)
			}
		}
		lease, created, err := c.server.updateLocked(c.by(), c.key(), c.Lease)
		if created {
			return answerLease(http.StatusCreated, lease, err)
		}
		return answerLease(http.StatusOK, lease, err)
	case "patch":
		lease, err := c.server.patchLocked(c)
		return answerLease(http.StatusOK, lease, err)
	case "delete":
		return c.serveDeleteLocked()
	}
	panic("bug: verb " + c.Verb)
}

func (c *call) serveDeleteLocked() answer {
	var options metav1.DeleteOptions
	if len(c.body) > 0 {
		if err := decodeInto(c.body, &options); err != nil {
			return answerError(apierrors.NewBadRequest(err.Error()))
		}
	}
	if len(options.DryRun) > 0 {
		return answerError(apierrors.NewBadRequest("leaderelectiontest does not serve dry runs"))
	}
	lease, err := c.server.deleteLocked(c.by(), c.key(), &options)
	if err != nil {
		return answerError(err)
	}
	if len(lease.Finalizers) > 0 {
		return answerLease(http.StatusOK, lease, nil)
	}
	return answer{code: http.StatusOK, object: &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: c.Name, Group: leaseResource.Group, Kind: leaseResource.Resource, UID: lease.UID},
	}}
}

func (c *call) serveRead() answer {
	options, err := parseReadOptions(c)
	if err != nil {
		return answerError(err)
	}
	if c.Verb == "watch" {
		return answer{code: http.StatusOK, watch: c.newWatchStream(options)}
	}
	if err := c.awaitRevision(options.resourceVersion); err != nil {
		return answerError(err)
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.Verb == "get" {
		lease, err := c.server.getLocked(c.key())
		return answerLease(http.StatusOK, lease, err)
	}
	if options.exact && options.resourceVersion != c.server.revision {
		return answerError(apierrors.NewResourceExpired(fmt.Sprintf("The resourceVersion for the provided list is too old: %d (%d)", options.resourceVersion, c.server.revision)))
	}
	list := &coordinationv1.LeaseList{
		TypeMeta: metav1.TypeMeta{APIVersion: coordinationv1.SchemeGroupVersion.String(), Kind: "LeaseList"},
		ListMeta: metav1.ListMeta{ResourceVersion: strconv.FormatInt(c.server.revision, 10)},
		Items:    []coordinationv1.Lease{},
	}
	for _, lease := range c.server.matchingLocked(options) {
		list.Items = append(list.Items, *lease.DeepCopy())
	}
	return answer{code: http.StatusOK, object: list}
}

// matchingLocked returns the Leases that the options select, sorted by
// namespace and name.
func (s *Server) matchingLocked(options readOptions) []*coordinationv1.Lease {
	var found []*coordinationv1.Lease
	for _, lease := range s.leases {
		if options.matches(lease) {
			found = append(found, lease)
		}
	}
	slices.SortFunc(found, func(a, b *coordinationv1.Lease) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return found
}

// awaitRevision waits until the server has reached the resourceVersion wanted.
// After freshnessTimeout, awaitRevision returns an error. For example, a client
// may require a resourceVersion that no longer exists, because the server was
// restored from a backup.
func (c *call) awaitRevision(wanted int64) error {
	timeout := time.NewTimer(freshnessTimeout)
	defer timeout.Stop()
	reached, err := c.wait(timeout.C, func() bool { return c.server.revision >= wanted })
	if reached || err != nil {
		return err
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	tooLarge := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", wanted, c.server.revision), 1)
	tooLarge.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return tooLarge
}
