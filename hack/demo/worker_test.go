package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// newWorker gives a worker on an empty ledger; heard collects its events.
func newWorker(t *testing.T) (w *worker, server *fake.Clientset, heard *bytes.Buffer) {
	t.Helper()
	server, heard = fake.NewClientset(), &bytes.Buffer{}
	w = &worker{
		replica:  "a-1",
		ledger:   ledger{server.CoreV1().ConfigMaps("demo")},
		isLeader: func() bool { return true },
		events:   &reporter{replica: "a-1", out: heard},
	}
	if err := w.ledger.create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w, server, heard
}

func kinds(t *testing.T, heard io.Reader) []kind {
	t.Helper()
	var all []kind
	if err := readEvents(heard, func(e event) { all = append(all, e.Kind) }); err != nil {
		t.Fatal(err)
	}
	return all
}

func ledgerEntries(t *testing.T, w *worker) []entry {
	t.Helper()
	p, err := w.ledger.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.entries
}

func TestWorker_AppendsInOrder(t *testing.T) {
	w, _, heard := newWorker(t)
	for seq := 1; seq <= 3; seq++ {
		if !w.append(t.Context(), entry{Replica: "a-1", Term: 7, Seq: seq}) {
			t.Fatalf("entry %d was not taken", seq)
		}
	}
	entries := ledgerEntries(t, w)
	if len(entries) != 3 || len(judge(entries)) > 0 {
		t.Errorf("the ledger is %v: %q", entries, judge(entries))
	}
	if got, want := kinds(t, heard), []kind{appended, appended, appended}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func TestWorker_WritesNothingWhenItDoesNotLead(t *testing.T) {
	w, _, _ := newWorker(t)
	w.isLeader = func() bool { return false }
	if w.append(t.Context(), entry{Term: 7, Seq: 1}) || len(ledgerEntries(t, w)) > 0 {
		t.Error("an entry was written")
	}
}

func TestWorker_EntryWhoseReplyWasLostIsNotWrittenTwice(t *testing.T) {
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
	e := entry{Replica: "a-1", Term: 7, Seq: 1}
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

func TestWorker_ReportsRefusalsAndTheFirstFailureOfARow(t *testing.T) {
	w, server, heard := newWorker(t)
	var answer error
	server.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return answer != nil, nil, answer
	})
	conflict := apierrors.NewConflict(corev1.Resource("configmaps"), ledgerName, errors.New("changed"))
	for _, answer = range []error{conflict, errors.New("down"), errors.New("still down"), nil, errors.New("down again")} {
		w.append(t.Context(), entry{Replica: "a-1", Term: 7, Seq: 1 + len(ledgerEntries(t, w))})
	}
	if got, want := kinds(t, heard), []kind{refused, failed, appended, failed}; !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
}

func TestDecodeEntries_SaysWhereTheLedgerIsDamaged(t *testing.T) {
	entries, err := decodeEntries(`{"replica":"a","term":7,"seq":1}` + "\n" + `{"replica"`)
	if err == nil || len(entries) != 0 {
		t.Errorf("decodeEntries() = %v, %v, want an error", entries, err)
	}
}

func TestAsk_FrozenReplicaSaysWhenItLedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		heard := &bytes.Buffer{}
		began, asked := time.Now(), 0
		isLeader := func() bool {
			asked++
			if asked == 11 {
				time.Sleep(20 * time.Second) // the process is frozen in the middle of the question
			}
			return asked <= 10
		}
		go func() {
			time.Sleep(30 * time.Second)
			cancel()
		}()
		ask(ctx, isLeader, nil, &reporter{replica: "a-1", out: heard})
		var events []event
		if err := readEvents(heard, func(e event) { events = append(events, e) }); err != nil {
			t.Fatal(err)
		}
		if len(events) != 3 || events[0].Kind != leads || events[1].Kind != led || events[2].Kind != woke {
			t.Fatalf("events = %v, want leads, led and woke", events)
		}
		if last := events[1].At.Sub(began); last != 9*askPeriod {
			t.Errorf("it led last at %v, want at the last question that was answered with yes, %v", last, 9*askPeriod)
		}
	})
}

// A manager that was frozen and has lost its Lease is done in a millisecond.
func TestAsk_TellsOfTheGapAlsoIfTheProcessEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		heard, asked := &bytes.Buffer{}, 0
		isLeader := func() bool {
			if asked++; asked == 3 {
				cancel()
				time.Sleep(20 * time.Second)
			}
			return true
		}
		ask(ctx, isLeader, nil, &reporter{replica: "a-1", out: heard})
		if got, want := kinds(t, heard), []kind{leads, woke, led}; !slices.Equal(got, want) {
			t.Errorf("events = %q, want %q", got, want)
		}
	})
}

func TestWhy_NamesTheReasonThatTheElectorGave(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(leaderelection.ErrOvertaken)
	if got := why(ctx); got != leaderelection.ErrOvertaken.Error() {
		t.Errorf("why() = %q", got)
	}
	plain, stop := context.WithCancel(t.Context())
	stop()
	if got, want := why(plain), "the manager was asked to stop"; got != want {
		t.Errorf("why() = %q, want %q", got, want)
	}
}
