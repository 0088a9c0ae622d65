// Command explain says of a Lease who leads and since when, whether it is renewed,
// why nobody leads, when it may be claimed at the earliest, who is the heir, what
// happened before, and what guards it, whoever writes it:
//
//	go run ./hack/explain -n kube-system kube-scheduler
//	go run ./hack/explain -n my-namespace -w my-app-leader
//	go run ./hack/explain -n my-namespace -service-account my-app -events -o json my-app-leader
//
// It changes nothing, and needs the right to get the Lease; with the right to watch
// it, too, it misses nothing. It exits with 0 if somebody leads, with 1 if nobody
// does, and with 2 if it cannot tell.
//
// Followed with -w it says when contact is lost, and declares nobody dead because
// of that. It goes on until it is interrupted and exits with 0 then, whoever leads;
// with 2 if the first look at the Lease fails or nobody reads what it writes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	code, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "explain:", err)
	}
	cancel()
	os.Exit(code)
}

// What the exit code says.
const (
	somebodyLeads = 0
	nobodyLeads   = 1
	cannotTell    = 2
)

func run(ctx context.Context, args []string, out, help io.Writer) (int, error) {
	o, err := parse(args, help)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0, nil
	case err != nil:
		return cannotTell, err
	}
	config, err := o.config()
	if err != nil {
		return cannotTell, err
	}
	if o.namespace == "" {
		if o.namespace, _, err = o.loader.Namespace(); err != nil {
			return cannotTell, err
		}
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return cannotTell, err
	}
	return o.explain(ctx, clientset, out, func(err error) { _, _ = fmt.Fprintln(help, "explain:", err) })
}
