package manager

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// GuardClient returns a client that refuses a write with ErrWriteRefused unless
// its context carries the term in which leadership leads now, and leadership is
// certain: a goroutine that was left over from an earlier term is refused, and so
// is a process that was frozen. The term's contexts are those that an Elector
// gives to its work, those of LeaderOnly, and those of the Runnables of a Manager
// made by New.
//
// Reads pass, and so do writes of Leases, of Events, and of reviews of tokens and
// access. It is a seat belt, not a fence: a write that was sent in time may arrive
// late, and only fencing at the server refuses it then.
func GuardClient(leadership Leadership, c client.Client) client.Client {
	return guardClient{c, leadership}
}

type guardClient struct {
	client.Client
	leadership Leadership
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

// check refuses a write of obj, or lets it through.
func (g guardClient) check(ctx context.Context, verb string, obj client.Object) error {
	why := mayWrite(ctx, g.leadership)
	if why == nil {
		return nil
	}
	kind, err := g.GroupVersionKindFor(obj)
	if err == nil && isFreeKind(kind) {
		return nil
	}
	return refusal(fmt.Sprintf("%s %s %s", verb, kind.Kind, client.ObjectKeyFromObject(obj)), why)
}

func (g guardClient) checkApply(ctx context.Context, verb string, obj runtime.ApplyConfiguration) error {
	why := mayWrite(ctx, g.leadership)
	if why == nil {
		return nil
	}
	kind := kindOfApply(obj)
	if isFreeKind(kind) {
		return nil
	}
	return refusal(verb+" "+kind.Kind, why)
}

func isFreeKind(kind schema.GroupVersionKind) bool {
	return freeGroups[kind.Group] || kind.Group == "" && kind.Kind == "Event"
}

// kindOfApply is the kind that an apply configuration says it is of: the typed
// ones hold pointers, unstructured ones strings.
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

// guardSubResource guards a subresource: whatever is free is so as a whole.
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
