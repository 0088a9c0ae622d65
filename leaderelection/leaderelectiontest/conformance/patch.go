package conformance

import (
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func patchTests() []Test {
	return []Test{
		test("MergePatchChangesMetadataAndSpec", mergePatch),
		test("StrategicMergePatchChangesMetadata", strategicPatch),
		test("JSONPatchAddsTestsAndRemoves", jsonPatch),
		test("PatchHonoursResourceVersionAndUID", patchPreconditions),
		test("PatchThatChangesNothingKeepsTheResourceVersion", patchNoop),
		test("PatchIsValidated", patchInvalid),
	}
}

func (f *fixture) patch(kind types.PatchType, patch string) (*coordinationv1.Lease, error) {
	return f.leases.Patch(f.ctx, f.name, kind, []byte(patch), metav1.PatchOptions{})
}

func mergePatch(f *fixture) {
	before := f.create("a")
	lease, err := f.patch(types.MergePatchType, `{"metadata":{"annotations":{"k":"v"}},"spec":{"holderIdentity":"b","acquireTime":null}}`)
	f.must(err)
	f.newer(before, lease)
	f.holder(lease, "b")
	if lease.Annotations["k"] != "v" || lease.Spec.AcquireTime != nil || !lease.Spec.RenewTime.Equal(before.Spec.RenewTime) {
		f.Fatalf("the patch was not applied correctly: %+v", lease)
	}
	lease, err = f.patch(types.MergePatchType, `{"metadata":{"annotations":null}}`)
	f.must(err)
	if len(lease.Annotations) != 0 {
		f.Fatal("the annotations were not removed")
	}
}

func strategicPatch(f *fixture) {
	f.create("a")
	lease, err := f.patch(types.StrategicMergePatchType, `{"metadata":{"labels":{"k":"v"}}}`)
	f.must(err)
	f.holder(lease, "a")
	if lease.Labels["k"] != "v" {
		f.Fatal("the label was not added")
	}
}

func jsonPatch(f *fixture) {
	f.create("a")
	lease, err := f.patch(types.JSONPatchType, `[
		{"op":"test","path":"/spec/holderIdentity","value":"a"},
		{"op":"add","path":"/metadata/annotations","value":{}},
		{"op":"add","path":"/metadata/annotations/example.com~1k","value":"v"},
		{"op":"replace","path":"/spec/holderIdentity","value":"b"},
		{"op":"remove","path":"/spec/acquireTime"}]`)
	f.must(err)
	f.holder(lease, "b")
	if lease.Annotations["example.com/k"] != "v" || lease.Spec.AcquireTime != nil {
		f.Fatalf("the patch was not applied correctly: %+v", lease)
	}
	_, err = f.patch(types.JSONPatchType, `[{"op":"test","path":"/spec/holderIdentity","value":"a"},{"op":"remove","path":"/spec"}]`)
	f.refused(apierrors.IsInvalid, err)
	f.holder(f.get(), "b")
}

func patchPreconditions(f *fixture) {
	stale := f.create("a")
	f.hold(stale, "b")
	for metadata, kind := range map[string]func(error) bool{
		fmt.Sprintf(`{"resourceVersion":%q}`, stale.ResourceVersion): apierrors.IsConflict,
		`{"uid":"another"}`: apierrors.IsInvalid, // a patch with another UID is invalid, while an update with another UID is a conflict
	} {
		_, err := f.patch(types.MergePatchType, `{"metadata":`+metadata+`,"spec":{"holderIdentity":"c"}}`)
		f.refused(kind, err)
	}
	f.holder(f.get(), "b")
}

func patchNoop(f *fixture) {
	before := f.create("a")
	lease, err := f.patch(types.MergePatchType, `{"spec":{"holderIdentity":"a"}}`)
	f.must(err)
	if lease.ResourceVersion != before.ResourceVersion {
		f.Fatalf("resourceVersion went from %s to %s", before.ResourceVersion, lease.ResourceVersion)
	}
}

func patchInvalid(f *fixture) {
	f.create("a")
	_, err := f.patch(types.MergePatchType, `{"spec":{"leaseDurationSeconds":0}}`)
	f.refused(apierrors.IsInvalid, err)
	_, err = f.patch(types.MergePatchType, `{"metadata":{"name":"another"}}`)
	f.refused(apierrors.IsBadRequest, err)
}
