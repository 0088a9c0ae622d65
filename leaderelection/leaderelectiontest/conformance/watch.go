package conformance

import (
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

func watchTests() []Test {
	return []Test{
		test("WatchFromAResourceVersionShowsWhatCameAfter", watchFrom),
		test("WatchWithoutResourceVersionShowsTheStateFirst", watchState),
		test("WatchFiltersByName", watchFilters),
		test("WatchByLabelAddsAndDeletesWhatComesAndGoes", watchLabels),
		test("DeletedEventsCarryTheResourceVersionOfTheDeletion", watchDeleted),
		test("StreamedListEndsWithABookmark", watchList),
		test("StreamedListOfAFutureResourceVersionTimesOut", watchListFuture),
		test("WatchRefusesOptionsThatDoNotFit", watchOptions),
		test("WatchEndsAfterItsTimeout", watchTimeout),
	}
}

func watchFrom(f *fixture) {
	first := f.create("a")
	second := f.hold(first, "b")
	w := f.watch(metav1.ListOptions{ResourceVersion: first.ResourceVersion})
	defer w.Stop()
	if seen := w.lease(watch.Modified); seen.ResourceVersion != second.ResourceVersion {
		f.Fatalf("got resourceVersion %s, want %s", seen.ResourceVersion, second.ResourceVersion)
	}
	third := f.hold(second, "c")
	if seen := w.lease(watch.Modified); seen.ResourceVersion != third.ResourceVersion {
		f.Fatalf("got resourceVersion %s, want %s", seen.ResourceVersion, third.ResourceVersion)
	}
	f.delete()
	f.newer(third, w.lease(watch.Deleted))
	fourth := f.create("d")
	if seen := w.lease(watch.Added); seen.UID != fourth.UID {
		f.Fatal("got another Lease")
	}
}

func watchState(f *fixture) {
	lease := f.create("a")
	for _, version := range []string{"", "0"} {
		w := f.watch(metav1.ListOptions{ResourceVersion: version})
		defer w.Stop()
		f.holder(w.lease(watch.Added), "a")
		lease = f.hold(lease, "b")
		f.holder(w.lease(watch.Modified), "b")
		lease = f.hold(lease, "a")
		w.lease(watch.Modified)
	}
}

func watchFilters(f *fixture) {
	lease := f.create("a")
	w := f.watch(metav1.ListOptions{ResourceVersion: lease.ResourceVersion})
	defer w.Stop()
	other := f.lease("x")
	other.Name = "conformance-other"
	_ = f.leases.Delete(f.ctx, other.Name, metav1.DeleteOptions{})
	_, err := f.leases.Create(f.ctx, other, metav1.CreateOptions{})
	f.must(err)
	f.must(f.leases.Delete(f.ctx, other.Name, metav1.DeleteOptions{}))
	f.hold(lease, "b")
	f.holder(w.lease(watch.Modified), "b")
}

func watchLabels(f *fixture) {
	lease := f.create("a")
	w := f.watch(metav1.ListOptions{ResourceVersion: lease.ResourceVersion, LabelSelector: "seen=yes"})
	defer w.Stop()
	lease.Labels = map[string]string{"seen": "yes"}
	lease = f.update(lease)
	w.lease(watch.Added)
	lease.Labels = nil
	lease = f.update(lease)
	if gone := w.lease(watch.Deleted); gone.ResourceVersion != lease.ResourceVersion || gone.Labels["seen"] != "yes" {
		f.Fatalf("the DELETED event of a Lease that is no longer selected has %+v", gone.ObjectMeta)
	}
}

func watchDeleted(f *fixture) {
	lease := f.create("a")
	w := f.watch(metav1.ListOptions{ResourceVersion: lease.ResourceVersion})
	defer w.Stop()
	f.delete()
	deleted := w.lease(watch.Deleted)
	f.newer(lease, deleted)
	f.holder(deleted, "a")
	again := f.create("b")
	f.newer(deleted, again)
}

func streamedList(version string) metav1.ListOptions {
	yes := true
	return metav1.ListOptions{
		ResourceVersion: version, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
		SendInitialEvents: &yes, AllowWatchBookmarks: true,
	}
}

func watchList(f *fixture) {
	lease := f.create("a")
	for _, version := range []string{"", "0", lease.ResourceVersion} {
		w := f.watch(streamedList(version))
		defer w.Stop()
		f.holder(w.lease(watch.Added), "a")
		bookmark := w.lease(watch.Bookmark)
		if bookmark.Annotations[metav1.InitialEventsAnnotationKey] != "true" || revision(f, bookmark) < revision(f, lease) {
			f.Fatalf("the bookmark is %+v", bookmark.ObjectMeta)
		}
		lease = f.hold(lease, "b")
		f.holder(w.lease(watch.Modified), "b")
		lease = f.hold(lease, "a")
		w.lease(watch.Modified)
	}
	f.delete()
	w := f.watch(streamedList(""))
	defer w.Stop()
	w.lease(watch.Bookmark)
}

func watchListFuture(f *fixture) {
	lease := f.create("a")
	w := f.watch(streamedList(strconv.FormatUint(revision(f, lease)+1_000_000, 10)))
	defer w.Stop()
	e := w.next()
	f.refused(apierrors.IsTimeout, apierrors.FromObject(e.Object))
	if e.Type != watch.Error || !apierrors.HasStatusCause(apierrors.FromObject(e.Object), metav1.CauseTypeResourceVersionTooLarge) {
		f.Fatalf("got %s of %#v", e.Type, e.Object)
	}
}

func watchOptions(f *fixture) {
	yes := true
	for _, options := range []metav1.ListOptions{
		{SendInitialEvents: &yes},
		{ResourceVersion: "1", ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan},
	} {
		_, err := f.leases.Watch(f.ctx, options)
		f.refused(apierrors.IsInvalid, err)
	}
	_, err := f.leases.Watch(f.ctx, metav1.ListOptions{FieldSelector: "spec.holderIdentity=a"})
	f.refused(apierrors.IsBadRequest, err)
	_, err = f.leases.Watch(f.ctx, metav1.ListOptions{ResourceVersion: "nonsense"})
	f.refused(func(err error) bool { return err != nil }, err) // the status is 422 or 500, depending on whether the watch cache is ready
}

func watchTimeout(f *fixture) {
	lease := f.create("a")
	seconds := int64(1)
	w := f.watch(metav1.ListOptions{ResourceVersion: lease.ResourceVersion, TimeoutSeconds: &seconds})
	defer w.Stop()
	if e, ok := <-w.ResultChan(); ok {
		f.Fatalf("got %s of %#v", e.Type, e.Object)
	}
}
