package envtest_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// getLease returns the Lease as it is on the API server.
func (s *stage) getLease() *coordinationv1.Lease {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	lease, err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Get(ctx, leaseName, metav1.GetOptions{})
	if err != nil {
		s.Fatal(err)
	}
	return lease
}

// holder is whom the Lease names, "" if nobody.
func (s *stage) holder() string {
	s.Helper()
	return deref(s.getLease().Spec.HolderIdentity)
}

// editLease edits the Lease by hand, and returns what came of it.
func (s *stage) editLease(what string, edit func(*coordinationv1.Lease)) *coordinationv1.Lease {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	leases := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace)
	lease := s.getLease()
	edit(lease)
	edited, err := leases.Update(ctx, lease, metav1.UpdateOptions{})
	for apierrors.IsConflict(err) && ctx.Err() == nil { // its holder renews it
		lease = s.getLease()
		edit(lease)
		edited, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	must(s.T, err)
	s.note("", "the Lease is edited: "+what)
	return edited
}

// deleteLease deletes the Lease by hand.
func (s *stage) deleteLease() {
	s.Helper()
	ctx, cancel := within()
	defer cancel()
	if err := s.cp.Admin().Clientset().CoordinationV1().Leases(s.namespace).Delete(ctx, leaseName, metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.note("", "the Lease is deleted")
}

// watchHolders tells each holder that the Lease names from now on, once for each
// time it is written.
func (s *stage) watchHolders() <-chan string {
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

// eventRecorded returns an error unless there is an event about the Lease with
// that message.
func (s *stage) eventRecorded(ctx context.Context, message string) error {
	list, err := s.cp.Admin().Clientset().CoreV1().Events(s.namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, event := range list.Items {
		if event.InvolvedObject.Name == leaseName && strings.Contains(event.Message, message) {
			return nil
		}
	}
	return fmt.Errorf("no event about %q among %d", message, len(list.Items))
}

// expiry is until when the holder of the Lease may be at work, by its own clock.
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
