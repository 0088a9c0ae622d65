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
// of that.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
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
	config, err := o.loader.ClientConfig()
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

type options struct {
	loader    clientcmd.ClientConfig
	namespace string
	name      string
	account   string
	uses      rights.Uses
	json      bool
	follow    bool
	wait      time.Duration
}

func parse(args []string, help io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	flags.SetOutput(help)
	flags.Usage = func() {
		_, _ = fmt.Fprintln(help, "explain [flags] lease")
		flags.PrintDefaults()
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	overrides := &clientcmd.ConfigOverrides{}
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "`file` to use instead of that of KUBECONFIG or the home directory")
	flags.StringVar(&overrides.CurrentContext, "context", "", "`name` of the kubeconfig's context to use")
	flags.StringVar(&o.namespace, "n", "", "`namespace` of the Lease; default: that of the context")
	flags.StringVar(&o.account, "service-account", "", "`name`, or namespace/name, of a service account whose rights to campaign are looked into")
	flags.BoolVar(&o.uses.WithoutWatch, "without-watch", false, "that service account polls the Lease instead of watching it")
	flags.BoolVar(&o.uses.Events, "events", false, "it records events, as package manager does")
	flags.BoolVar(&o.uses.Route, "route", false, "it labels the leader's Pod")
	flags.StringVar(&o.uses.PodNamespace, "pod-namespace", "", "`namespace` of the Pods, if it is not the Lease's")
	format := flags.String("o", "text", "text, or json: one object per line")
	flags.BoolVar(&o.follow, "w", false, "go on, with a line for each change, until interrupted")
	flags.DurationVar(&o.wait, "wait", 3*time.Second, "how long to wait at most for a renewal, to tell the time by it; 0: judge by the leader's clock")
	names, err := parseAll(flags, args)
	if err != nil {
		return nil, err
	}
	switch *format {
	case "text":
	case "json":
		o.json = true
	default:
		return nil, fmt.Errorf("-o (%q) must be text or json", *format)
	}
	if len(names) != 1 {
		return nil, fmt.Errorf("%q: the name of one Lease is expected", strings.Join(names, " "))
	}
	if o.account == "" && o.uses != (rights.Uses{}) {
		return nil, errors.New("-without-watch, -events, -route and -pod-namespace say more about a -service-account: name it")
	}
	o.name = names[0]
	if namespace, name, found := strings.Cut(o.name, "/"); found {
		o.namespace, o.name = namespace, name
	}
	o.loader = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	return o, nil
}

// parseAll takes flags before and after the names, as kubectl does.
func parseAll(flags *flag.FlagSet, args []string) (names []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) == 0 {
			return names, nil
		}
		names, args = append(names, args[0]), args[1:]
	}
}
