package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// newWorker returns a worker whose ledger is empty. The fake clientset in the result
// server stores the ledger. The worker prints its events to the buffer out.
func newWorker(t *testing.T) (w *worker, server *fake.Clientset, out *bytes.Buffer) {
	t.Helper()
	server, out = fake.NewClientset(), &bytes.Buffer{}
	w = &worker{
		ledger:   ledgerIn(server, "demo"),
		isLeader: func() bool { return true },
		events:   &lab.Reporter{Replica: "a-1", Out: out},
	}
	if err := w.ledger.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return w, server, out
}

func kinds(t *testing.T, out io.Reader) []lab.Kind {
	t.Helper()
	var all []lab.Kind
	if err := lab.ReadEvents(out, func(e lab.Event) { all = append(all, e.Kind) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func ledgerEntries(t *testing.T, w *worker) []lab.Entry {
	t.Helper()
	page, err := w.ledger.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return page.Entries
}

func TestWorker_AppendsInOrder(t *testing.T) {
	w, _, out := newWorker(t)
	for seq := 1; seq <= 3; seq++ {
		if !w.append(t.Context(), lab.Entry{Replica: "a-1", Term: 7, Seq: seq}) {
			t.Fatalf("entry %d was not accepted", seq)
		}
	}
	entries := ledgerEntries(t, w)
	if violations := lab.JudgeOrder(entries); len(entries) != 3 || len(violations) > 0 {
		t.Errorf("the ledger is %v: %q", entries, violations)
	}
	if got, want := kinds(t, out), []lab.Kind{lab.Appended, lab.Appended, lab.Appended}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func TestWorker_WritesNothingWhenItDoesNotLead(t *testing.T) {
	w, _, _ := newWorker(t)
	w.isLeader = func() bool { return false }
	if w.append(t.Context(), lab.Entry{Term: 7, Seq: 1}) || len(ledgerEntries(t, w)) > 0 {
		t.Error("an entry was written")
	}
}

func TestWorker_DoesNotRepeatAnEntryWhoseReplyWasLost(t *testing.T) {
	w, server, _ := newWorker(t)
	lost := false
	server.PrependReactor("update", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		if lost {
			return false, nil, nil
		}
		lost = true
		object := action.(clienttesting.UpdateAction).GetObject().(*corev1.ConfigMap)
		err := server.Tracker().Update(action.GetResource(), object, object.Namespace)
		return true, nil, errors.Join(err, errors.New("the connection broke"))
	})
	e := lab.Entry{Replica: "a-1", Term: 7, Seq: 1}
	if w.append(t.Context(), e) {
		t.Error("a failure was taken for success")
	}
	if !w.append(t.Context(), e) {
		t.Error("the entry was not found in the ledger")
	}
	if n := len(ledgerEntries(t, w)); n != 1 {
		t.Errorf("the ledger has %d entries, want 1", n)
	}
}

func TestWorker_ReportsRefusalsAndTheFirstOfSeveralFailures(t *testing.T) {
	w, server, out := newWorker(t)
	var answer error
	server.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return answer != nil, nil, answer
	})
	conflict := apierrors.NewConflict(corev1.Resource("configmaps"), ledgerName, errors.New("changed"))
	for _, answer = range []error{conflict, errors.New("down"), errors.New("still down"), nil, errors.New("down again")} {
		w.append(t.Context(), lab.Entry{Replica: "a-1", Term: 7, Seq: 1 + len(ledgerEntries(t, w))})
	}
	if got, want := kinds(t, out), []lab.Kind{lab.Refused, lab.Failed, lab.Appended, lab.Failed}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func TestReasonOf_ReturnsTheCauseOfTheElector(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(leaderelection.ErrOvertaken)
	if got := reasonOf(ctx); got != leaderelection.ErrOvertaken.Error() {
		t.Errorf("reasonOf() = %q", got)
	}
	plain, stop := context.WithCancel(t.Context())
	stop()
	if got, want := reasonOf(plain), "the manager was asked to stop"; got != want {
		t.Errorf("reasonOf() = %q, want %q", got, want)
	}
}
