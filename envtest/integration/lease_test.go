package integration_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// getLease reads the Lease from the API server.
func (s *testCluster) getLease() *coordinationv1.Lease {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	lease, err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return lease
}

// holder returns the holder of the Lease, or "" if the Lease has no holder.
func (s *testCluster) holder() string {
	s.Helper()
	return deref(s.getLease().Spec.HolderIdentity)
}

// editLease changes the Lease like an administrator, and returns the changed
// Lease. The parameter what describes the change in the timeline.
func (s *testCluster) editLease(what string, edit func(*coordinationv1.Lease)) *coordinationv1.Lease {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	leases := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace)
	lease := s.getLease()
	edit(lease)
	edited, err := leases.Update(ctx, lease, metav1.UpdateOptions{})
	for apierrors.IsConflict(err) && ctx.Err() == nil { // the holder has renewed the Lease in the meantime
		lease = s.getLease()
		edit(lease)
		edited, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	must(s.T, err)
	s.note("", "the Lease is edited: "+what)
	return edited
}

// deleteLease deletes the Lease like an administrator.
func (s *testCluster) deleteLease() {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	if err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.note("", "the Lease is deleted")
}

// watchHolders returns a channel that receives the holder of the Lease after
// each write of the Lease.
func (s *testCluster) watchHolders() <-chan string {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		s.Fatal(err)
	}
	holders, done := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for event := range stream.ResultChan() {
			if lease, ok := event.Object.(*coordinationv1.Lease); ok {
				holders <- deref(lease.Spec.HolderIdentity)
			}
		}
	}()
	s.Cleanup(func() {
		cancel()
		stream.Stop()
		<-done
	})
	return holders
}

// eventRecorded returns an error if no event about the Lease contains the
// message.
func (s *testCluster) eventRecorded(ctx context.Context, message string) error {
	list, err := s.cp.Admin().Clientset().CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, event := range list.Items {
		if event.InvolvedObject.Name == leaseName && strings.Contains(event.Message, message) {
			return nil
		}
	}
	return fmt.Errorf("none of the %[2]d events contains %[1]q", message, len(list.Items))
}

// expiry returns the time at which the Lease expires, according to the clock of
// the holder.
func expiry(lease *coordinationv1.Lease) time.Time {
	return lease.Spec.RenewTime.Add(time.Duration(deref(lease.Spec.LeaseDurationSeconds)) * time.Second)
}

func deref[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}

// ledger records the writes of all leaders in one test cluster. Each entry is a
// ConfigMap with the fencing token of its term. The resourceVersions of the
// entries show the order of the writes.
type ledger struct {
	client    kubernetes.Interface
	namespace string
	rewound   bool // true if etcd was restored; then resourceVersions do not show the order of the writes
}

const ledgerLabel = "ledger"

// append writes an entry into the ledger. Errors are ignored, because a fault
// may prevent the write.
func (l ledger) append(ctx context.Context, worker string, token leaderelection.Token) {
	entry := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "ledger-", Labels: map[string]string{ledgerLabel: ""}},
		Data:       map[string]string{"worker": worker, "token": token.String()},
	}
	_, _ = l.client.CoreV1().ConfigMaps(l.namespace).Create(ctx, entry, metav1.CreateOptions{})
}

type entry struct {
	worker  string
	token   uint64
	version string
}

// entries returns all entries in the order in which the API server applied
// them.
func (l ledger) entries(t testing.TB) []entry {
	t.Helper()
	ctx, cancel := within()
	defer cancel()
	list, err := l.client.CoreV1().ConfigMaps(l.namespace).List(ctx, metav1.ListOptions{LabelSelector: ledgerLabel})
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]entry, 0, len(list.Items))
	for _, item := range list.Items {
		token, err := strconv.ParseUint(item.Data["token"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{item.Data["worker"], token, item.ResourceVersion})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		order, err := resourceversion.CompareResourceVersion(a.version, b.version)
		if err != nil {
			t.Fatal(err)
		}
		return order
	})
	return entries
}

// check fails the test if an entry has a lower token than an earlier entry.
func (l ledger) check(t testing.TB) {
	t.Helper()
	if l.rewound {
		return
	}
	var last entry
	for _, e := range l.entries(t) {
		if e.token < last.token {
			t.Errorf("%s wrote with token %d at resourceVersion %s, after %s had written with token %d at %s",
				e.worker, e.token, e.version, last.worker, last.token, last.version)
		}
		last = e
	}
}

// recorder is a testing.TB that records failure messages instead of failing.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { r.failure += fmt.Sprintf(format, args...) }

func TestLedger_DetectsAnEntryAfterOneWithAGreaterToken(t *testing.T) {
	t.Parallel()
	cp := shared.get(t)
	book := ledger{client: cp.Admin().Clientset(), namespace: cp.Namespace(t)}
	book.append(t.Context(), "pod-1", 1)
	book.append(t.Context(), "pod-2", 2)
	tb := &recorder{TB: t}
	if book.check(tb); tb.failure != "" {
		t.Errorf("a ledger in order: %s", tb.failure)
	}
	book.append(t.Context(), "pod-1", 1)
	if book.check(tb); !strings.HasPrefix(tb.failure, "pod-1 wrote with token 1") {
		t.Errorf("got %q", tb.failure)
	}
}
