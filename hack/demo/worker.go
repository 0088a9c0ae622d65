package main

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	// workPeriod is the time from one entry to the next.
	workPeriod = 200 * time.Millisecond
	// requestTimeout keeps one hung request from being all that a term does.
	requestTimeout = 2 * time.Second
)

// worker is what a leader does: it appends to the ledger, for as long as its
// term lasts.
type worker struct {
	replica  string
	ledger   ledger
	isLeader func() bool
	events   *reporter
	failing  bool
}

// run works until ctx ends, and returns when nothing of it goes on. It is the
// Start of a Runnable.
func (w *worker) run(ctx context.Context) error {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		panic("bug: the work's context has no term")
	}
	token := uint64(term.Token)
	w.events.report(event{Kind: elected, Term: token})
	ticker := time.NewTicker(workPeriod)
	defer ticker.Stop()
	for seq := 1; ; {
		if w.append(ctx, entry{Replica: w.replica, Term: token, Seq: seq}) {
			seq++
		}
		select {
		case <-ctx.Done():
			w.events.report(event{Kind: ended, Term: token, Detail: why(ctx)})
			return nil
		case <-ticker.C:
		}
	}
}

// why says why ctx ended. A Manager that is asked to stop gives its Runnables no
// cause.
func why(ctx context.Context) string {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		return "the manager was asked to stop"
	}
	return cause.Error()
}

// append reads the ledger, asks whether we still lead, and writes: in this
// order. A process can be frozen between any two lines, and wake up deposed. If
// that is before the question, the answer is no; if it is after the question,
// the successor has written since we read, and the API server refuses our
// entry. Nothing else guards the ledger: an elector that wrongly said yes would
// be found out.
func (w *worker) append(ctx context.Context, e entry) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	p, err := w.ledger.read(ctx)
	if err != nil {
		w.fail(ctx, err)
		return false
	}
	if p.last().Term == e.Term && p.last().Seq == e.Seq {
		w.events.report(event{Kind: appended, Term: e.Term, Seq: e.Seq}) // the reply was lost
		return true
	}
	if !w.isLeader() {
		return false
	}
	e.At = time.Now()
	switch err := w.ledger.append(ctx, p, e); {
	case apierrors.IsConflict(err):
		w.events.report(event{Kind: refused, Term: e.Term, Seq: e.Seq})
		return false
	case err != nil:
		w.fail(ctx, err)
		return false
	}
	w.failing = false
	w.events.report(event{Kind: appended, Term: e.Term, Seq: e.Seq})
	return true
}

// fail reports the first failure of a row. A request that was given up because
// the term ended did not fail.
func (w *worker) fail(ctx context.Context, err error) {
	if w.failing || ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return
	}
	w.failing = true
	w.events.report(event{Kind: failed, Detail: err.Error()})
}
