package manager

import (
	"context"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/haproxy-template-ic/incumbent/leaderelection/guard"
)

// GuardTransport returns an http.RoundTripper that refuses writes that do not belong to
// the current term. It calls guard.Transport.
func GuardTransport(leadership guard.Leadership, next http.RoundTripper) http.RoundTripper {
	return guard.Transport(leadership, next)
}

// GuardClient returns a client that refuses writes that do not belong to the current
// term. The context of a write must carry the term that leadership reports as current.
// If the context carries no term or another term, the client returns ErrWriteRefused.
// Package guard documents the rules, and lists the writes that always pass.
//
// These contexts carry a term:
//
//   - the context that an Elector passes to OnStartedLeading
//   - the context that LeaderOnly passes to its Runnable
//   - the contexts of the Runnables of a Manager that New returned, while that Manager
//     leads
//
// A write may be sent during the term and reach the API server after the term. Only
// fencing can refuse this write.
func GuardClient(leadership guard.Leadership, c client.Client) client.Client {
	return guardClient{c, leadership}
}

// guardedClient returns a NewClientFunc that wraps each new client with GuardClient. If
// newClient is nil, client.New creates the clients.
func guardedClient(newClient client.NewClientFunc, leadership guard.Leadership) client.NewClientFunc {
	if newClient == nil {
		newClient = client.New
	}
	return func(cfg *rest.Config, opts client.Options) (client.Client, error) {
		c, err := newClient(cfg, opts)
		if err != nil {
			return nil, err
		}
		return GuardClient(leadership, c), nil
	}
}

type guardClient struct {
	client.Client
	leadership guard.Leadership
}

func (g guardClient) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := g.check(ctx, "create", obj); err != nil {
		return err
	}
	return g.Client.Create(ctx, obj, opts...)
}

func (g guardClient) Update(ctx context.Context, obj client.Object, opts ...client.UpdateOption) error {
	if err := g.check(ctx, "update", obj); err != nil {
		return err
	}
	return g.Client.Update(ctx, obj, opts...)
}

func (g guardClient) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := g.check(ctx, "patch", obj); err != nil {
		return err
	}
	return g.Client.Patch(ctx, obj, patch, opts...)
}

func (g guardClient) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	if err := g.checkApply(ctx, "apply", obj); err != nil {
		return err
	}
	return g.Client.Apply(ctx, obj, opts...)
}

func (g guardClient) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := g.check(ctx, "delete", obj); err != nil {
		return err
	}
	return g.Client.Delete(ctx, obj, opts...)
}

func (g guardClient) DeleteAllOf(ctx context.Context, obj client.Object, opts ...client.DeleteAllOfOption) error {
	if err := g.check(ctx, "delete all of", obj); err != nil {
		return err
	}
	return g.Client.DeleteAllOf(ctx, obj, opts...)
}

func (g guardClient) Status() client.SubResourceWriter { return g.SubResource("status") }

func (g guardClient) SubResource(name string) client.SubResourceClient {
	return guardSubResource{g.Client.SubResource(name), g, name}
}

// check returns nil if obj may be written with the context ctx. In all other cases it
// returns an error that wraps ErrWriteRefused. The parameter verb becomes part of the
// error message.
func (g guardClient) check(ctx context.Context, verb string, obj client.Object) error {
	refusal := guard.Check(ctx, g.leadership)
	if refusal == nil {
		return nil
	}
	kind, err := g.GroupVersionKindFor(obj)
	if err == nil && isExempt(kind) {
		return nil
	}
	return fmt.Errorf("%s %s %s: %w", verb, kind.Kind, client.ObjectKeyFromObject(obj), refusal)
}

// checkApply returns nil if the apply configuration obj may be applied with the context
// ctx. In all other cases it returns an error that wraps ErrWriteRefused. The parameter
// verb becomes part of the error message.
func (g guardClient) checkApply(ctx context.Context, verb string, obj runtime.ApplyConfiguration) error {
	refusal := guard.Check(ctx, g.leadership)
	if refusal == nil {
		return nil
	}
	kind := kindOfApply(obj)
	if isExempt(kind) {
		return nil
	}
	return fmt.Errorf("%s %s: %w", verb, kind.Kind, refusal)
}

func isExempt(kind schema.GroupVersionKind) bool {
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	return guard.Exempt(kind.Group, plural.Resource)
}

// kindOfApply returns the kind of the apply configuration obj. The methods of typed
// configurations return pointers to strings. The methods of unstructured configurations
// return strings.
func kindOfApply(obj runtime.ApplyConfiguration) schema.GroupVersionKind {
	var version, kind string
	switch o := obj.(type) {
	case interface {
		GetAPIVersion() *string
		GetKind() *string
	}:
		version, kind = valueOr(o.GetAPIVersion()), valueOr(o.GetKind())
	case interface {
		GetAPIVersion() string
		GetKind() string
	}:
		version, kind = o.GetAPIVersion(), o.GetKind()
	}
	return schema.FromAPIVersionAndKind(version, kind)
}

func valueOr(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// A guardSubResource guards the writes to one subresource. The rules are the same as
// for writes to the object itself.
type guardSubResource struct {
	client.SubResourceClient
	guard guardClient
	name  string
}

func (g guardSubResource) Create(ctx context.Context, obj, subResource client.Object, opts ...client.SubResourceCreateOption) error {
	if err := g.guard.check(ctx, "create "+g.name+" of", obj); err != nil {
		return err
	}
	return g.SubResourceClient.Create(ctx, obj, subResource, opts...)
}

func (g guardSubResource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	if err := g.guard.check(ctx, "update "+g.name+" of", obj); err != nil {
		return err
	}
	return g.SubResourceClient.Update(ctx, obj, opts...)
}

func (g guardSubResource) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
	if err := g.guard.check(ctx, "patch "+g.name+" of", obj); err != nil {
		return err
	}
	return g.SubResourceClient.Patch(ctx, obj, patch, opts...)
}

func (g guardSubResource) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
	if err := g.guard.checkApply(ctx, "apply "+g.name+" of", obj); err != nil {
		return err
	}
	return g.SubResourceClient.Apply(ctx, obj, opts...)
}
