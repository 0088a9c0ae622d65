package main

import (
	"context"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// settings are the parameters of a replica's process. The process runs either one
// candidate or many electors.
type settings struct {
	Kubeconfig string

	// The following fields are used by a process that runs one candidate.
	Implementation, Lease string
	Timing                lab.Timing
	Operator              bool // true if a controller does the work
	Defaults              bool // true if this controller has no options; otherwise its sources start before it leads

	// The following fields are used by a process that runs many electors.
	Electors    int
	SharedWatch bool
}

// The kinds of events that only the benchmark uses.
const (
	ready     lab.Kind = "ready"     // the candidate begins to campaign
	nominated lab.Kind = "nominated" // the candidate became the nominated successor
	measured  lab.Kind = "measured"  // the memory of the electors was measured; Detail is a footprint in JSON format
)

// runReplica runs one candidate, or many electors if s.Electors is not zero.
func runReplica(ctx context.Context, s settings, events *lab.Reporter) error {
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	config, err := lab.LoadConfig(s.Kubeconfig)
	if err != nil {
		return err
	}
	if s.Electors > 0 {
		return reportFootprint(ctx, config, s, events)
	}
	config.QPS = -1
	c := candidateSpec{
		timing: s.Timing, lease: s.Lease, identity: events.Replica, client: &client{config: config},
		ready:   func() { events.Report(lab.Event{Kind: ready}) },
		observe: func(ctx context.Context, e *leaderelection.Elector) { reportNomination(ctx, e, events) },
	}
	c.work = func(ctx context.Context) {
		events.Report(lab.Event{Kind: lab.Elected})
		<-ctx.Done()
		events.Report(lab.Event{Kind: lab.Ended})
	}
	if s.Operator {
		c.operate = func(mgr crmanager.Manager) error { return operate(mgr, s.Defaults, c.work) }
	}
	return implementationNamed(s.Implementation).campaign(ctx, c)
}

// reportNomination reports an event when the elector becomes the nominated successor.
func reportNomination(ctx context.Context, e *leaderelection.Elector, events *lab.Reporter) {
	for state := range e.Changes(ctx) {
		if state.Successor == events.Replica {
			events.Report(lab.Event{Kind: nominated})
			return
		}
	}
}

// operate adds a controller to the Manager. The controller reconciles one object. The
// reconciliation calls work. If defaults is true, the controller has no options.
func operate(mgr crmanager.Manager, defaults bool, work func(context.Context)) error {
	options := controller.Options{EnableWarmup: ptr.To(true)}
	if defaults {
		options = controller.Options{}
	}
	return builder.ControllerManagedBy(mgr).Named("settings").For(&corev1.ConfigMap{}).
		WithOptions(options).
		Complete(reconcile.Func(func(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
			work(ctx)
			return ctrl.Result{}, nil
		}))
}
