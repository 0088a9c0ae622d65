package fencing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// A cluster is an in-memory API server, and an Elector that leads with a Lease in this
// API server.
type cluster struct {
	elector *leaderelection.Elector
	server  *leaderelectiontest.Server
	network *leaderelectiontest.Network // between the elector and the server
}

// inTerm starts an Elector in fake time, waits until the Elector leads, and calls test.
// test receives the context of the term.
func inTerm(t *testing.T, test func(t *testing.T, ctx context.Context, cluster cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		client, terms := server.Client("pod-a"), make(chan context.Context, 1)
		elector, err := leaderelection.New(&leaderelection.Config{
			Enabled: true, Identity: "pod-a_1", LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true,
		}, client.Clientset(), leaderelection.Callbacks{
			OnStartedLeading: func(ctx context.Context) { terms <- ctx },
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- elector.Run(ctx) }()
		test(t, <-terms, cluster{elector, server, client.Network()})
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// A sink is a RoundTripper that records requests. It responds to the first requests
// with the error responses in answers, and to all later requests with success.
type sink struct {
	answers []string // the bodies of the error responses
	sent    []*http.Request
	bodies  []string
}

func (s *sink) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if r.ContentLength != int64(len(text)) {
			return nil, errors.New("the Content-Length differs from the length of the body")
		}
		body = string(text)
	}
	s.sent, s.bodies = append(s.sent, r), append(s.bodies, body)
	if n := len(s.sent); n <= len(s.answers) {
		return &http.Response{StatusCode: http.StatusUnprocessableEntity, Body: io.NopCloser(strings.NewReader(s.answers[n-1]))}, nil
	}
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

func request(ctx context.Context, t *testing.T, method, path, contentType, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "https://cluster"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body == "" {
		r.Body = nil
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

const configMaps = "/api/v1/namespaces/ns/configmaps"

func TestStampTransport_StampsEveryKindOfBody(t *testing.T) {
	const stamped = `"annotations":{"fencing.incumbent.haproxy-template-ic.github.io/ns.app":"STAMP"}`
	const merge, apply = "application/merge-patch+json", "application/apply-patch+yaml"
	for _, tc := range []struct{ name, method, contentType, body, want string }{
		{"create", "POST", "application/json", `{"kind":"ConfigMap","data":{"n":12345678901234567890}}`, `{"data":{"n":12345678901234567890},"kind":"ConfigMap","metadata":{` + stamped + `}}`},
		{"update that has read an older stamp", "PUT", "application/json; charset=utf-8", `{"metadata":{"name":"a",` + strings.Replace(stamped, "STAMP", "1 x", 1) + `}}`, `{"metadata":{` + stamped + `,"name":"a"}}`},
		{"update without annotations", "PUT", "application/json", `{"metadata":{"name":"a","annotations":null}}`, `{"metadata":{` + stamped + `,"name":"a"}}`},
		{"merge patch", "PATCH", merge, `{"data":{"a":"b"}}`, `{"data":{"a":"b"},"metadata":{` + stamped + `}}`},
		{"merge patch of annotations", "PATCH", merge, `{"metadata":{"annotations":{"a":null}}}`, `{"metadata":{"annotations":{"a":null,` + strings.TrimPrefix(stamped, `"annotations":{`) + `}}`},
		{"strategic merge patch", "PATCH", "application/strategic-merge-patch+json", `{}`, `{"metadata":{` + stamped + `}}`},
		{"apply of JSON", "PATCH", apply, `{"kind":"ConfigMap","data":{"n":18446744073709551616}}`, `{"data":{"n":18446744073709551616},"kind":"ConfigMap","metadata":{` + stamped + `}}`},
		{"apply of YAML", "PATCH", apply, "kind: ConfigMap\nmetadata:\n  name: a\ndata:\n  number: 18446744073709551615\n", `{"data":{"number":18446744073709551615},"kind":"ConfigMap","metadata":{` + stamped + `,"name":"a"}}`},
		{"JSON patch", "PATCH", "application/json-patch+json", `[{"op":"remove","path":"/data"}]`, `[{"op":"remove","path":"/data"},{"op":"add","path":"/metadata/annotations/fencing.incumbent.haproxy-template-ic.github.io~1ns.app","value":"STAMP"}]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inTerm(t, func(t *testing.T, ctx context.Context, _ cluster) {
				s := &sink{}
				if _, err := fencing.StampTransport(s).RoundTrip(request(ctx, t, tc.method, configMaps+"/a", tc.contentType, tc.body)); err != nil {
					t.Fatal(err)
				}
				term, _ := leaderelection.TermFromContext(ctx)
				want := []string{strings.ReplaceAll(tc.want, "STAMP", term.Token.String()+" pod-a_1")}
				if diff := cmp.Diff(want, s.bodies); diff != "" {
					t.Errorf("-want +sent:\n%s", diff)
				}
			})
		})
	}
}

func TestStampTransport_StampsProtobuf(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, _ cluster) {
		serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
		object := &corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Name: "a", Annotations: map[string]string{"kept": "yes"}}, Data: map[string]string{"b": "c"},
		}
		var body bytes.Buffer
		if err := serializer.Encode(object, &body); err != nil {
			t.Fatal(err)
		}
		s := &sink{}
		if _, err := fencing.StampTransport(s).RoundTrip(request(ctx, t, "POST", configMaps, runtime.ContentTypeProtobuf, body.String())); err != nil {
			t.Fatal(err)
		}
		got, _, err := serializer.Decode([]byte(s.bodies[0]), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		term, _ := leaderelection.TermFromContext(ctx)
		object.Annotations[fencing.AnnotationKey("ns/app")] = term.Token.String() + " pod-a_1"
		if diff := cmp.Diff(object, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".TypeMeta" }, cmp.Ignore())); diff != "" {
			t.Errorf("-want +sent:\n%s", diff)
		}
	})
}

// A JSON patch can add one annotation only to an object that already has annotations.
// For other objects, the transport must try another form of the patch.
func TestStampTransport_TriesTheFormsOfAJSONPatch(t *testing.T) {
	const missing = `{"message":"the server rejected our request due to an error in our request"}`
	for _, tc := range []struct {
		answers []string
		sent    int
		ok      bool
	}{
		{nil, 1, true},
		{[]string{missing}, 2, true},
		{[]string{missing, missing}, 3, true},
		{[]string{missing, missing, missing}, 3, false},
		{[]string{lag}, 1, false},
		{[]string{`{"message":"spec.selector: field is immutable"}`}, 1, false},
		{[]string{missing, `{"message":"spec.selector: field is immutable"}`}, 2, false},
	} {
		inTerm(t, func(t *testing.T, ctx context.Context, _ cluster) {
			s := &sink{answers: tc.answers}
			response, err := fencing.StampTransport(s).RoundTrip(request(ctx, t, "PATCH", configMaps+"/a", "application/json-patch+json", `[]`))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(response.Body)
			if len(s.sent) != tc.sent || (response.StatusCode == http.StatusOK) != tc.ok || err != nil || !tc.ok && string(text) != tc.answers[len(tc.answers)-1] {
				t.Errorf("%q: %d requests, then %d %q, %v", tc.answers, len(s.sent), response.StatusCode, text, err)
			}
		})
	}
}

func TestStampTransport_SendsStampsOrRefusesAWrite(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, _ cluster) {
		const merge = "application/merge-patch+json"
		for _, tc := range []struct {
			method, path, contentType, body string
			ctx                             context.Context
			want                            error
			stamped                         bool
		}{
			{"GET", configMaps, "", "", t.Context(), nil, false},
			{"DELETE", configMaps + "/a", "application/json", "{}", t.Context(), nil, false},
			{"PATCH", configMaps + "/a/status", "application/apply-patch+yaml", "{}", t.Context(), nil, false},
			{"POST", configMaps + "/a/status", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/api/v1/namespaces/ns/bindings", "application/json", "{}", ctx, nil, false},
			{"POST", "/api/v1/namespaces/ns/pods/a/binding", "application/json", "{}", ctx, nil, false},
			{"PATCH", "/apis/apps/v1/namespaces/ns/deployments/a/scale", merge, "{}", t.Context(), nil, false},
			{"PUT", "/apis/coordination.k8s.io/v1/namespaces/ns/leases/a", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/api/v1/namespaces/ns/events", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/somewhere/else", "text/plain", "x", t.Context(), nil, false},

			{"POST", "/api/v1/namespaces", "application/json", "{}", ctx, nil, true},
			{"PATCH", "/api/v1/namespaces/ns", merge, "{}", ctx, nil, true},
			{"POST", "/prefix/apis/example.com/v1/widgets", "application/json", "{}", ctx, nil, true},
			{"PUT", configMaps + "/a/status", "application/json", "{}", ctx, nil, true},
			{"PATCH", "/api/v1/namespaces/ns/status", merge, "{}", ctx, nil, true},
			{"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval", "application/json", "{}", ctx, nil, true},
			{"PUT", "/api/v1/namespaces/ns/finalize", "application/json", "{}", ctx, nil, true},

			{"PUT", "/api/clusters/c1/apis/apps/v1/namespaces/ns/deployments/a", "application/json", "{}", ctx, nil, true},
			{"PUT", "/gateway/api/c1" + configMaps + "/a", "application/json", "{}", ctx, nil, true},
			{"POST", "/gateway/api/v1" + configMaps, "application/json", "{}", ctx, nil, true},
			{"POST", "/api/v1/clusters/c1" + configMaps, "application/json", "{}", ctx, nil, true},
			{"POST", "/apis/cluster.example.com/v1alpha1/clusters/c1/proxy" + configMaps, "application/json", "{}", ctx, nil, true},
			{"PUT", "/apis/apps/v1/namespaces/apis/deployments/v1/status", "application/json", "{}", ctx, nil, true},
			{"PUT", "/apis/example.com/v1/namespaces/api/apis/v1", "application/json", "{}", ctx, nil, true},
			{"PUT", "/apis/example.com/v1api20200601/widgets/a", "application/json", "{}", ctx, nil, true},
			{"PUT", "/apis/example.com/first/widgets/a", "application/json", "{}", ctx, nil, true},
			{"PUT", "/gateway/apis/example.com/first/widgets/a", "application/json", "{}", ctx, nil, true},
			{"PUT", "/api/clusters/c1/apis/coordination.k8s.io/v1/namespaces/ns/leases/a", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/api/c1/api/v1/namespaces/ns/events", "application/json", "{}", t.Context(), nil, false},
			{"POST", "/api/v1/namespaces/ns/services/http:prometheus:9090/proxy/api/v1/query", "text/plain", "x", t.Context(), nil, false},
			{"PUT", "/apis/example.com/v1/namespaces/ns/machines/a/console/setup", "application/json", "{}", t.Context(), nil, false},
			{"DELETE", "/gateway/api/c1/x", "application/json", "{}", t.Context(), nil, false},

			{"PUT", "/gateway/api/c1/x", "application/json", "{}", ctx, fencing.ErrNotStampable, false},
			{"PUT", "/gateway/api/c1/x", "application/json", "{}", t.Context(), fencing.ErrNoTerm, false},
			{"POST", "/gateway/apis/example/first/widgets", "application/json", "{}", ctx, fencing.ErrNotStampable, false}, // a group of custom resources contains a dot, but this group does not
			{"POST", "/api/v1", "application/json", "{}", ctx, fencing.ErrNotStampable, false},
			{"PUT", configMaps + "/a/status", "application/json", "{}", t.Context(), fencing.ErrNoTerm, false},
			{"POST", configMaps, "application/json", "{}", t.Context(), fencing.ErrNoTerm, false},
			{"POST", configMaps, "application/cbor", "{}", ctx, fencing.ErrNotStampable, false},
			{"POST", configMaps, runtime.ContentTypeProtobuf, "{}", ctx, fencing.ErrNotStampable, false},
			{"POST", configMaps, "", "{}", ctx, fencing.ErrNotStampable, false},
			{"PUT", configMaps + "/a", "application/json", "[]", ctx, fencing.ErrNotStampable, false},
			{"PUT", configMaps + "/a", "application/json", `{"metadata":{"annotations":7}}`, ctx, fencing.ErrNotStampable, false},
			{"PATCH", configMaps + "/a", merge, `{"metadata":{"annotations":null}}`, ctx, fencing.ErrNotStampable, false},
			{"PATCH", configMaps + "/a", "application/json-patch+json", `{}`, ctx, fencing.ErrNotStampable, false},
		} {
			s := &sink{}
			_, err := fencing.StampTransport(s).RoundTrip(request(tc.ctx, t, tc.method, tc.path, tc.contentType, tc.body))
			if !errors.Is(err, tc.want) || (err == nil) != (len(s.sent) == 1) {
				t.Errorf("%s %s %q: %v after %d requests, want %v", tc.method, tc.path, tc.body, err, len(s.sent), tc.want)
				continue
			}
			if err == nil && (s.bodies[0] != tc.body) != tc.stamped {
				t.Errorf("%s %s was sent as %q, want it stamped: %v", tc.method, tc.path, s.bodies[0], tc.stamped)
			}
		}
	})
}

const (
	lag   = `ValidatingAdmissionPolicy 'incumbent-fencing.ns.app' with binding 'b' denied request: fenced off from lease ns/app: its holder is \"pod-b\"`
	later = `ValidatingAdmissionPolicy 'incumbent-fencing.ns.app' with binding 'b' denied request: fenced off from lease ns/app: the object was written in the later term \"9 pod-b\"`
)

func TestRetryTransport_SendsAgainWhileTheTermContinues(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, _ cluster) {
		for _, tc := range []struct {
			name    string
			answers []string
			sent    int
			took    time.Duration
			ok      bool
		}{
			{"no refusal", nil, 1, 0, true},
			{"another error", []string{"invalid"}, 1, 0, false},
			{"refused twice", []string{lag, lag}, 3, 6 * time.Millisecond, true},
			{"refused, then another error", []string{lag, "invalid"}, 2, 2 * time.Millisecond, false},
			{"written in a later term", []string{later}, 1, 0, false},
		} {
			s, began := &sink{answers: tc.answers}, time.Now()
			response, err := fencing.RetryTransport(alwaysConfirms{}, s).RoundTrip(request(ctx, t, "POST", configMaps, "application/json", `{"a":1}`))
			if err != nil {
				t.Fatal(err)
			}
			if len(s.sent) != tc.sent || time.Since(began) != tc.took || (response.StatusCode == http.StatusOK) != tc.ok {
				t.Errorf("%s: %d requests in %v, then %d", tc.name, len(s.sent), time.Since(began), response.StatusCode)
			}
			for _, body := range s.bodies {
				if body != `{"a":1}` {
					t.Errorf("%s: sent %q", tc.name, body)
				}
			}
		}
	})
}

// alwaysConfirms confirms every term.
type alwaysConfirms struct{}

func (alwaysConfirms) Confirm(context.Context, leaderelection.Term) (bool, error) { return true, nil }

func TestRetryTransport_GivesUpAfterASecond(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, cluster cluster) {
		elector := cluster.elector
		s, began := &sink{answers: make([]string, 1000)}, time.Now()
		for i := range s.answers {
			s.answers[i] = lag
		}
		response, err := fencing.RetryTransport(elector, s).RoundTrip(request(ctx, t, "DELETE", configMaps+"/a", "", ""))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		if took := time.Since(began); took < time.Second || took > 1100*time.Millisecond || string(text) != lag || err != nil {
			t.Errorf("after %v and %d requests: %q, %v", took, len(s.sent), text, err)
		}

		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		began = time.Now()
		if _, err := fencing.RetryTransport(elector, &sink{answers: s.answers}).RoundTrip(request(short, t, "DELETE", configMaps+"/a", "", "")); err != nil || time.Since(began) != 100*time.Millisecond {
			t.Errorf("a context of 100 ms: %v after %v", err, time.Since(began))
		}
		if !elector.IsLeader() {
			t.Error("the term ended although the Lease confirms it")
		}
	})
}

// The watch is stalled. Therefore the Elector observes the new holder only when Confirm
// reads the Lease.
func TestRetryTransport_EndsATermWhoseLeaseHasAnotherHolder(t *testing.T) {
	for _, refusal := range []string{lag, later} {
		inTerm(t, func(t *testing.T, ctx context.Context, cluster cluster) {
			cluster.network.StallWatches()
			err := cluster.server.Edit("ns", "app", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = ptr.To("pod-b") })
			if err != nil {
				t.Fatal(err)
			}
			s := &sink{answers: []string{refusal, refusal, refusal}}
			for _, ctx := range []context.Context{ctx, ctx, context.WithoutCancel(ctx)} {
				response, err := fencing.RetryTransport(cluster.elector, s).RoundTrip(request(ctx, t, "POST", configMaps, "application/json", `{}`))
				if err != nil {
					t.Fatal(err)
				}
				if text, err := io.ReadAll(response.Body); string(text) != refusal || err != nil {
					t.Errorf("the answer is %q, %v", text, err)
				}
			}
			if cause := context.Cause(ctx); !errors.Is(cause, leaderelection.ErrOvertaken) || len(s.sent) != 3 {
				t.Errorf("the term ended because %v, and three writes were sent as %d requests", cause, len(s.sent))
			}
		})
	}
}

func TestRetryTransport_ReturnsTheRefusalIfTheLeaseCannotBeRead(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, cluster cluster) {
		cluster.network.Cut(leaderelectiontest.Refuse)
		s := &sink{answers: []string{lag}}
		response, err := fencing.RetryTransport(cluster.elector, s).RoundTrip(request(ctx, t, "POST", configMaps, "application/json", `{}`))
		if err != nil || response.StatusCode != http.StatusUnprocessableEntity || len(s.sent) != 1 {
			t.Errorf("%v, %v after %d requests, want the refusal after one", response, err, len(s.sent))
		}
		if !cluster.elector.IsLeader() {
			t.Error("the term ended although the Lease could not be read")
		}
	})
}

func TestRetryTransport_ConfirmsNothingWithoutATerm(t *testing.T) {
	s := &sink{answers: []string{lag}}
	response, err := fencing.RetryTransport(&leaderelection.Elector{}, s).RoundTrip(request(t.Context(), t, "POST", configMaps, "application/json", `{}`))
	if err != nil || response.StatusCode != http.StatusUnprocessableEntity || len(s.sent) != 1 {
		t.Errorf("%v after %d requests", err, len(s.sent))
	}
}

// If the TermConfirmer is missing, the first request must fail. A failure at the first
// refused write would be too late, because refusals are rare.
func TestRetryTransport_WithoutATermConfirmerFailsTheFirstRequest(t *testing.T) {
	for _, confirmer := range []fencing.TermConfirmer{nil, (*leaderelection.Elector)(nil)} {
		s := &sink{}
		_, err := fencing.RetryTransport(confirmer, s).RoundTrip(request(t.Context(), t, "GET", configMaps, "", ""))
		if err == nil || !strings.Contains(err.Error(), "pass the Elector") || len(s.sent) != 0 {
			t.Errorf("%T: %v after %d requests", confirmer, err, len(s.sent))
		}
	}
}

// torn is a RoundTripper whose responses have a body that cannot be read. torn also
// records whether the body was closed.
type torn struct{ closed bool }

func (c *torn) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusForbidden, Body: c}, nil
}

func (c *torn) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (c *torn) Close() error { c.closed = true; return nil }

func TestTransports_ReturnNoResponseThatCannotBeRead(t *testing.T) {
	inTerm(t, func(t *testing.T, ctx context.Context, cluster cluster) {
		for name, wrap := range map[string]func(http.RoundTripper) http.RoundTripper{
			"stamp": fencing.StampTransport,
			"retry": func(next http.RoundTripper) http.RoundTripper { return fencing.RetryTransport(cluster.elector, next) },
		} {
			c := &torn{}
			response, err := wrap(c).RoundTrip(request(ctx, t, "PATCH", configMaps+"/a", "application/json-patch+json", `[]`))
			if response != nil || !errors.Is(err, io.ErrUnexpectedEOF) || !c.closed {
				t.Errorf("%s: answer %v, error %v, closed: %v", name, response, err, c.closed)
			}
		}
	})
}
