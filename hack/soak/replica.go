package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	leaseName  = "soak"
	workPeriod = 200 * time.Millisecond
	askPeriod  = 10 * time.Millisecond
	// requestTimeout bounds a request of the work.
	requestTimeout = 2 * time.Second
)

// A replica is one process: an elector, with work that writes into the ledgers.
type replica struct {
	identity, namespace, kubeconfig string
	timing                          leaderelection.Config

	elector *leaderelection.Elector
	working kubernetes.Interface
}

// run campaigns until ctx ends.
func (r *replica) run(ctx context.Context) error {
	restConfig, err := clientcmd.BuildConfigFromFlags("", r.kubeconfig)
	if err != nil {
		return err
	}
	config := r.timing
	config.Enabled, config.Identity, config.ReleaseOnCancel = true, r.identity, true
	config.LeaseName, config.LeaseNamespace = leaseName, r.namespace
	electing, err := kubernetes.NewForConfig(config.ClientConfig(restConfig))
	if err != nil {
		return err
	}
	restConfig.QPS = -1 // the work writes as fast as it can
	if r.working, err = kubernetes.NewForConfig(restConfig); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	r.elector, err = leaderelection.New(&config, electing, leaderelection.Callbacks{OnStartedLeading: r.work}, logger)
	if err != nil {
		return err
	}
	asking, stop := context.WithCancel(context.Background())
	var asked sync.WaitGroup
	asked.Go(func() { r.ask(asking) })
	err = r.elector.Run(ctx)
	stop()
	asked.Wait()
	return err
}

// work writes into both ledgers until ctx ends.
func (r *replica) work(ctx context.Context) {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		panic("bug: the work's context has no term")
	}
	var both sync.WaitGroup
	for _, ledger := range []string{openLedger, guardedLedger} {
		both.Go(func() {
			ticker := time.NewTicker(workPeriod)
			defer ticker.Stop()
			for seq := 1; ctx.Err() == nil; seq++ {
				r.write(ctx, ledger, entry{Replica: r.identity, Term: uint64(term.Token), Seq: seq})
				select {
				case <-ctx.Done():
				case <-ticker.C:
				}
			}
		})
	}
	both.Wait()
}

// write puts an entry in the place of whatever stands in the ledger. Its time is
// from before the question whether we lead: who says then that he leads was at
// work at that time.
func (r *replica) write(ctx context.Context, ledger string, e entry) {
	e.At = time.Now()
	if !r.elector.IsLeader() {
		return
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic("bug: " + err.Error())
	}
	patch, err := json.Marshal(map[string]map[string]string{"data": {entryKey: string(text), termKey: fmt.Sprint(e.Term)}})
	if err != nil {
		panic("bug: " + err.Error())
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// What fails is not tried again: the next entry comes soon.
	_, _ = r.working.CoreV1().ConfigMaps(r.namespace).Patch(ctx, ledger, types.MergePatchType, patch, metav1.PatchOptions{})
}

// A change is a line that a replica prints: since when it has led, and until when.
type change struct {
	Leads bool      `json:"leads"`
	At    time.Time `json:"at"`
}

// ask prints when IsLeader begins and ceases to say yes. It did so at least
// between the two times: the first is from after the question that was answered
// with yes first, the second from before the one that was last.
func (r *replica) ask(ctx context.Context) {
	ticker := time.NewTicker(askPeriod)
	defer ticker.Stop()
	out := json.NewEncoder(os.Stdout)
	leads, last := false, time.Time{}
	for {
		before := time.Now()
		answer := r.elector.IsLeader()
		switch {
		case answer && !leads:
			_ = out.Encode(change{true, time.Now()}) // who does not read is gone
		case !answer && leads:
			_ = out.Encode(change{false, last})
		}
		leads = answer
		if answer {
			last = before
		}
		select {
		case <-ctx.Done():
			if leads {
				_ = out.Encode(change{false, last})
			}
			return
		case <-ticker.C:
		}
	}
}
