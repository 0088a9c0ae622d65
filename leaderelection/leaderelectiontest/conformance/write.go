package conformance

import (
	"strconv"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func revision(f *fixture, lease *coordinationv1.Lease) uint64 {
	f.Helper()
	version, err := strconv.ParseUint(lease.ResourceVersion, 10, 64)
	f.must(err)
	return version
}

func writeTests() []Test {
	return []Test{
		test("CreateFillsMetadata", createFillsMetadata),
		test("CreateOfAnExistingLeaseIsAlreadyExists", createOfExisting),
		test("CreateWithResourceVersionIsRefused", createWithResourceVersion),
		test("CreateInAMissingNamespaceIsNotFound", createInMissingNamespace),
		test("ReadsOfAMissingLeaseAreNotFound", missing),
		test("TimesKeepMicroseconds", timesKeepMicroseconds),
		test("UpdateNeedsTheResourceVersion", updateNeedsResourceVersion),
		test("UpdateWithAStaleResourceVersionIsAConflict", updateStale),
		test("UpdateWithAForeignUIDIsAConflict", updateForeignUID),
		test("UpdateWithTheUIDOfAVanishedLeaseIsAConflict", updateVanished),
		test("UpdateOfAMissingLeaseWithoutUIDCreatesIt", updateCreates),
		test("UpdateThatChangesNothingKeepsTheResourceVersion", updateNoop),
		test("UpdateKeepsWhatBelongsToTheServer", updateKeepsSystemFields),
		test("InvalidSpecsAreRefused", invalidSpecs),
		test("InvalidMetadataIsRefused", invalidMetadata),
		test("ResourceVersionsGrowAcrossDeletion", versionsGrow),
		test("DeleteHonoursPreconditions", deletePreconditions),
		test("DeleteWaitsForFinalizers", deleteFinalizers),
		test("ListHasAResourceVersionAndHonoursSelectors", list),
		test("ReadsOfAFutureResourceVersionTimeOut", future),
	}
}

func createFillsMetadata(f *fixture) {
	lease := f.create("a")
	if lease.UID == "" || lease.ResourceVersion == "" || lease.CreationTimestamp.IsZero() || lease.Namespace != f.Namespace {
		f.Fatalf("metadata is incomplete: %+v", lease.ObjectMeta)
	}
	f.holder(f.get(), "a")
}

func createOfExisting(f *fixture) {
	f.create("a")
	_, err := f.leases.Create(f.ctx, f.lease("b"), metav1.CreateOptions{})
	f.refused(apierrors.IsAlreadyExists, err)
	f.refused(func(err error) bool { return !apierrors.IsConflict(err) }, err)
	f.holder(f.get(), "a")
}

func createWithResourceVersion(f *fixture) {
	lease := f.create("a")
	f.delete()
	again := f.lease("b")
	again.ResourceVersion = lease.ResourceVersion
	_, err := f.leases.Create(f.ctx, again, metav1.CreateOptions{})
	f.refused(apierrors.IsInternalError, err)
}

func createInMissingNamespace(f *fixture) {
	leases := f.Clientset.CoordinationV1().Leases(f.MissingNamespace)
	lease := f.lease("a")
	lease.Namespace = f.MissingNamespace
	_, err := leases.Create(f.ctx, lease, metav1.CreateOptions{})
	f.refused(apierrors.IsNotFound, err)
	_, err = leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.refused(apierrors.IsNotFound, err)
	_, err = leases.Get(f.ctx, f.name, metav1.GetOptions{})
	f.refused(apierrors.IsNotFound, err)
}

func missing(f *fixture) {
	f.create("a")
	f.delete()
	_, err := f.leases.Get(f.ctx, f.name, metav1.GetOptions{})
	f.refused(apierrors.IsNotFound, err)
	f.refused(apierrors.IsNotFound, f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{}))
	_, err = f.leases.Patch(f.ctx, f.name, types.MergePatchType, []byte(`{}`), metav1.PatchOptions{})
	f.refused(apierrors.IsNotFound, err)
}

func timesKeepMicroseconds(f *fixture) {
	lease := f.lease("a")
	want := metav1.NewMicroTime(lease.Spec.RenewTime.Time)
	lease.Spec.RenewTime.Time = want.Add(321) // add 321 ns, which the server must truncate
	f.create("x")
	f.delete()
	created, err := f.leases.Create(f.ctx, lease, metav1.CreateOptions{})
	f.must(err)
	for _, got := range []*coordinationv1.Lease{created, f.get()} {
		if !got.Spec.RenewTime.Equal(&want) {
			f.Fatalf("renewTime is %v, want %v", got.Spec.RenewTime, want)
		}
	}
}

func updateNeedsResourceVersion(f *fixture) {
	lease := f.create("a")
	lease.ResourceVersion = ""
	_, err := f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.refused(apierrors.IsInvalid, err)
}

func updateStale(f *fixture) {
	stale := f.create("a")
	f.newer(stale, f.hold(stale, "b"))
	stale.Labels = map[string]string{"stale": "true"}
	_, err := f.leases.Update(f.ctx, stale, metav1.UpdateOptions{})
	f.refused(apierrors.IsConflict, err)
	stale.UID = ""
	_, err = f.leases.Update(f.ctx, stale, metav1.UpdateOptions{})
	f.refused(apierrors.IsConflict, err)
	f.holder(f.get(), "b")
}

func updateForeignUID(f *fixture) {
	old := f.create("a")
	f.delete()
	lease := f.create("b")
	lease.UID = old.UID
	_, err := f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.refused(apierrors.IsConflict, err)
}

func updateVanished(f *fixture) {
	lease := f.create("a")
	f.delete()
	_, err := f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.refused(apierrors.IsConflict, err)
}

func updateCreates(f *fixture) {
	gone := f.create("a")
	f.delete()
	created := f.update(f.lease("b"))
	f.newer(gone, created)
	if created.UID == "" || created.UID == gone.UID {
		f.Fatalf("the UID of the Lease that a PUT created is %q", created.UID)
	}
	f.delete()
	// A PUT with the resourceVersion of a deleted Lease creates a new Lease.
	// But if the PUT also contains the UID of the deleted Lease, the PUT fails.
	gone.UID = ""
	f.newer(created, f.update(gone))
}

func updateNoop(f *fixture) {
	lease := f.create("a")
	same := f.update(lease)
	if same.ResourceVersion != lease.ResourceVersion {
		f.Fatalf("resourceVersion went from %s to %s", lease.ResourceVersion, same.ResourceVersion)
	}
}

func updateKeepsSystemFields(f *fixture) {
	lease := f.create("a")
	change := lease.DeepCopy()
	change.CreationTimestamp = metav1.Time{}
	change.UID = ""
	changed := f.hold(change, "b")
	if changed.UID != lease.UID || !changed.CreationTimestamp.Equal(&lease.CreationTimestamp) {
		f.Fatalf("an update changed the UID or the creation time: %+v", changed.ObjectMeta)
	}
}

func invalidSpecs(f *fixture) {
	good := f.create("a")
	zero, negative := int32(0), int32(-1)
	for _, spoil := range []func(*coordinationv1.LeaseSpec){
		func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = &zero },
		func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = &negative },
		func(s *coordinationv1.LeaseSpec) { s.LeaseTransitions = &negative },
	} {
		lease := good.DeepCopy()
		spoil(&lease.Spec)
		_, err := f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
		f.refused(apierrors.IsInvalid, err)
		lease.ResourceVersion = ""
		lease.Name += "-new"
		_, err = f.leases.Create(f.ctx, lease, metav1.CreateOptions{})
		f.refused(apierrors.IsInvalid, err)
	}
	empty := good.DeepCopy()
	empty.Spec = coordinationv1.LeaseSpec{}
	f.newer(good, f.update(empty))
}

func invalidMetadata(f *fixture) {
	lease := f.lease("a")
	lease.Name = "Not_A_Name"
	_, err := f.leases.Create(f.ctx, lease, metav1.CreateOptions{})
	f.refused(apierrors.IsInvalid, err)
	lease = f.create("a")
	lease.Annotations = map[string]string{"not a key": ""}
	_, err = f.leases.Update(f.ctx, lease, metav1.UpdateOptions{})
	f.refused(apierrors.IsInvalid, err)
}

func versionsGrow(f *fixture) {
	first := f.create("a")
	second := f.hold(first, "b")
	f.newer(first, second)
	f.delete()
	third := f.create("c")
	if revision(f, third) < revision(f, second)+2 {
		f.Fatal("the deletion has no resourceVersion of its own")
	}
	if first.UID == third.UID {
		f.Fatal("the new Lease has the old UID")
	}
}

func deletePreconditions(f *fixture) {
	stale := f.create("a")
	lease := f.hold(stale, "b")
	uid := types.UID("another")
	for _, p := range []metav1.Preconditions{
		{UID: &uid}, {ResourceVersion: &stale.ResourceVersion}, {UID: &lease.UID, ResourceVersion: &stale.ResourceVersion},
	} {
		f.refused(apierrors.IsConflict, f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{Preconditions: &p}))
	}
	f.must(f.leases.Delete(f.ctx, f.name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &lease.UID, ResourceVersion: &lease.ResourceVersion},
	}))
	_, err := f.leases.Get(f.ctx, f.name, metav1.GetOptions{})
	f.refused(apierrors.IsNotFound, err)
}

func deleteFinalizers(f *fixture) {
	lease := f.create("a")
	lease.Finalizers = []string{"example.com/wait"}
	lease = f.update(lease)
	f.delete()
	doomed := f.get()
	if doomed.DeletionTimestamp == nil {
		f.Fatal("the Lease has no deletionTimestamp")
	}
	f.newer(lease, doomed)
	doomed.Finalizers = nil
	f.update(doomed)
	_, err := f.leases.Get(f.ctx, f.name, metav1.GetOptions{})
	f.refused(apierrors.IsNotFound, err)
}

func list(f *fixture) {
	lease := f.create("a")
	for selector, want := range map[string]int{
		"metadata.name=" + f.name: 1, "metadata.name=another": 0, "metadata.name!=" + f.name + ",metadata.name=" + f.name: 0,
		"metadata.namespace=" + f.Namespace + ",metadata.name=" + f.name: 1,
	} {
		found, err := f.leases.List(f.ctx, metav1.ListOptions{FieldSelector: selector})
		f.must(err)
		if len(found.Items) != want {
			f.Fatalf("%s selects %d Leases, want %d", selector, len(found.Items), want)
		}
		version, err := strconv.ParseUint(found.ResourceVersion, 10, 64)
		f.must(err)
		if version < revision(f, lease) {
			f.Fatalf("the list has resourceVersion %d, an item %s", version, lease.ResourceVersion)
		}
	}
	found, err := f.leases.List(f.ctx, metav1.ListOptions{LabelSelector: "app=none"})
	f.must(err)
	if len(found.Items) != 0 {
		f.Fatal("a label that no Lease has selects Leases")
	}
	_, err = f.leases.List(f.ctx, metav1.ListOptions{FieldSelector: "spec.holderIdentity=a"})
	f.refused(apierrors.IsBadRequest, err)
}

func future(f *fixture) {
	lease := f.create("a")
	ahead := strconv.FormatUint(revision(f, lease)+1_000_000, 10)
	_, err := f.leases.Get(f.ctx, f.name, metav1.GetOptions{ResourceVersion: ahead})
	f.refused(func(err error) bool {
		return apierrors.IsTimeout(err) && apierrors.HasStatusCause(err, metav1.CauseTypeResourceVersionTooLarge)
	}, err)
	_, err = f.leases.Get(f.ctx, f.name, metav1.GetOptions{ResourceVersion: "0"})
	f.must(err)
}
