package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/manager"
)

// timing contains the default durations of package leaderelection. Most users keep
// these defaults.
var timing = lab.Timing{
	LeaseDuration: leaderelection.DefaultLeaseDuration,
	RenewDeadline: leaderelection.DefaultRenewDeadline,
	RetryPeriod:   leaderelection.DefaultRetryPeriod,
}

const (
	leaseName  = "demo"
	ledgerName = "ledger"
)

func ledgerIn(client kubernetes.Interface, namespace string) lab.Ledger {
	return lab.Ledger{Client: client.CoreV1().ConfigMaps(namespace), Name: ledgerName}
}

// settings are the parameters of a replica's process.
type settings struct {
	Namespace, Kubeconfig string
	Fenced                bool   // true if a Fence protects the ledger
	PodUID                string // the UID of the pod of this process; empty if there is no pod
}

// runReplica runs one replica until ctx is done or the replica has lost its leadership.
// The replica is an example of an operator that uses this library. The process must
// exit after the replica has lost its leadership.
func runReplica(ctx context.Context, s settings, events *lab.Reporter) error {
	config, err := lab.LoadConfig(s.Kubeconfig)
	if err != nil {
		return err
	}
	if s.PodUID != "" {
		if err := s.usePod(events.Replica); err != nil {
			return err
		}
	}
	config.UserAgent = "incumbent-demo/" + events.Replica
	if s.Fenced {
		config = lab.AsPod(config, s.Namespace, serviceAccount, events.Replica)
	}
	log.SetLogger(logr.FromSlogHandler(slog.NewTextHandler(os.Stderr, nil)))
	mgr, w, err := newManager(config, s.Namespace, events)
	if err != nil {
		return err
	}
	sampler := lab.Sampler{IsLeader: w.isLeader, Events: events}
	if s.Fenced {
		sampler.AfterFreeze = func() { events.Report(writeLate(w.ledger, events.Replica)) }
	}
	if err := sampler.During(func() error { return mgr.Start(ctx) }); err != nil {
		return fmt.Errorf("the manager: %w", err)
	}
	return nil
}

// newManager creates a Manager and a worker. The Manager runs the worker only while the
// replica leads.
func newManager(config *rest.Config, namespace string, events *lab.Reporter) (crmanager.Manager, *worker, error) {
	mgr, err := manager.New(config, crmanager.Options{
		LeaderElection: true, LeaderElectionID: leaseName, LeaderElectionNamespace: namespace,
		LeaseDuration: &timing.LeaseDuration, RenewDeadline: &timing.RenewDeadline, RetryPeriod: &timing.RetryPeriod,
		Metrics: metricsserver.Options{BindAddress: "0"}, // no metrics server, because all replicas on this machine would use the same port
	}, manager.WithIdentity(events.Replica))
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, err
	}
	w := &worker{ledger: ledgerIn(client, namespace), isLeader: manager.ElectorOf(mgr).IsLeader, events: events}
	return mgr, w, mgr.Add(crmanager.RunnableFunc(w.run))
}

// A worker does the leader's work. It appends entries to the ledger until the term
// ends.
type worker struct {
	ledger   lab.Ledger
	isLeader func() bool
	events   *lab.Reporter
	failing  bool
}

// run appends entries to the ledger until ctx is done. The Manager calls run when the
// replica becomes the leader.
func (w *worker) run(ctx context.Context) error {
	w.events.Report(lab.Event{Kind: lab.Elected, Term: lab.Term(ctx)})
	lab.Work(ctx, w.events.Replica, w.append)
	w.events.Report(lab.Event{Kind: lab.Ended, Term: lab.Term(ctx), Detail: reasonOf(ctx)})
	return nil
}

// reasonOf returns the reason why ctx was cancelled. A Manager that is asked to stop
// cancels the contexts of its Runnables without a cause. In this case, reasonOf returns
// "the manager was asked to stop".
func reasonOf(ctx context.Context) string {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		return "the manager was asked to stop"
	}
	return cause.Error()
}

// append appends the entry e to the ledger, and reports whether the ledger contains e.
// It reads the ledger, calls IsLeader, and then writes e.
//
// The process can be frozen between these steps, and another replica can become the
// leader. If the process was frozen before the call of IsLeader, IsLeader returns
// false. If the process was frozen after this call and the new leader has written an
// entry, the API server refuses e.
//
// Without a Fence, the ledger has no other protection.
func (w *worker) append(ctx context.Context, e lab.Entry) (done bool) {
	ctx, cancel := context.WithTimeout(ctx, lab.RequestTimeout)
	defer cancel()
	page, err := w.ledger.Read(ctx)
	if err != nil {
		w.reportFailure(ctx, err)
		return false
	}
	if last := page.Last(); last.Term == e.Term && last.Seq == e.Seq {
		w.events.Report(lab.Event{Kind: lab.Appended, Term: e.Term, Seq: e.Seq}) // an earlier call wrote the entry, but the reply was lost
		return true
	}
	e.At = time.Now()
	if !w.isLeader() {
		return false
	}
	switch err := w.ledger.Append(ctx, page, e); {
	case apierrors.IsConflict(err):
		w.events.Report(lab.Event{Kind: lab.Refused, Term: e.Term, Seq: e.Seq})
		return false
	case err != nil:
		w.reportFailure(ctx, err)
		return false
	}
	w.failing = false
	w.events.Report(lab.Event{Kind: lab.Appended, Term: e.Term, Seq: e.Seq})
	return true
}

// reportFailure reports the first of several consecutive failed requests. It does not
// report a request that was cancelled because the term ended.
func (w *worker) reportFailure(ctx context.Context, err error) {
	if w.failing || ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return
	}
	w.failing = true
	w.events.Report(lab.Event{Kind: lab.Failed, Detail: err.Error()})
}
