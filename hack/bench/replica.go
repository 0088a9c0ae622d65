package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// ordersVariable holds the orders of a process that is one candidate of a fleet.
const ordersVariable = "INCUMBENT_BENCH_ORDERS"

// Orders say what a process is to be.
type orders struct {
	Contender, Lease, Identity string
	Lasts, Renew, Retry        time.Duration
	Operator                   bool // its work is that of a controller
	Kubeconfig                 []byte
}

// A report of a process, one JSON object in a line.
type told struct {
	Replica string    `json:"replica"`
	What    string    `json:"what"`
	At      time.Time `json:"at"`
}

// What processes tell.
const (
	isReady = "ready"
	isHeir  = "heir"
	began   = "began" // to work
	ended   = "ended"
)

// runReplica is a process of a fleet.
func runReplica(text string) error {
	ctx, stop := spawn.Context()
	defer stop()
	klog.SetLogger(logr.Discard())
	log.SetLogger(logr.Discard())
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("$%s: %w", ordersVariable, err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(o.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS = -1
	say := teller(o.Identity)
	c := candidate{
		pace: pace{o.Lasts, o.Renew, o.Retry}, lease: o.Lease, identity: o.Identity, client: &client{config: config},
		ready:   func() { say(isReady) },
		observe: func(ctx context.Context, e *leaderelection.Elector) { tellHeir(ctx, e, o.Identity, say) },
	}
	c.work = func(ctx context.Context) {
		say(began)
		<-ctx.Done()
		say(ended)
	}
	if o.Operator {
		c.operate = func(mgr crmanager.Manager) error { return operate(mgr, c.work) }
	}
	return contenderNamed(o.Contender).campaign(ctx, c)
}

func teller(identity string) func(what string) {
	var mu sync.Mutex
	return func(what string) {
		mu.Lock()
		defer mu.Unlock()
		line, err := json.Marshal(told{identity, what, time.Now()})
		if err != nil {
			panic("bug: " + err.Error())
		}
		_, _ = fmt.Fprintf(os.Stdout, "%s\n", line) // if nobody reads, this process is about to end
	}
}

// tellHeir tells when the elector becomes the heir, until ctx ends.
func tellHeir(ctx context.Context, e *leaderelection.Elector, identity string, say func(string)) {
	for state := range e.Changes(ctx) {
		if state.Successor == identity {
			say(isHeir)
			return
		}
	}
}

// operate adds a controller that is busy for as long as it may be.
func operate(mgr crmanager.Manager, work func(context.Context)) error {
	return builder.ControllerManagedBy(mgr).Named("settings").For(&corev1.ConfigMap{}).
		WithOptions(controller.Options{EnableWarmup: new(true)}).
		Complete(reconcile.Func(func(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
			work(ctx)
			return ctrl.Result{}, nil
		}))
}
