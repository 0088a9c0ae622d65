package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

const usage = `explain says who leads a Lease and since when, or why nobody does, when it may be
claimed, and what guards it. It changes nothing.

usage:    explain [flags] lease            also namespace/lease, or lease/name as kubectl has it
example:  explain -n kube-system kube-scheduler
          explain -n my-namespace -service-account my-app -w my-app-leader

It exits with 0 if somebody leads, with 1 if nobody does, and with 2 if it cannot tell.
With -w it exits with 0 when it is interrupted, whoever leads.

`

type options struct {
	loader     clientcmd.ClientConfig
	kubeconfig string // as given
	namespace  string
	name       string
	account    string
	uses       rights.Uses
	json       bool
	follow     bool
	wait       time.Duration
	waits      bool // wait was given
}

func parse(args []string, help io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // what is wrong is told once, by the error
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	overrides := &clientcmd.ConfigOverrides{}
	flags.StringVar(&rules.ExplicitPath, "kubeconfig", "", "`file` to use instead of that of KUBECONFIG or the home directory")
	flags.StringVar(&overrides.CurrentContext, "context", "", "`name` of the kubeconfig's context to use")
	flags.StringVar(&o.namespace, "n", "", "`namespace` of the Lease; default: that of the context")
	flags.StringVar(&o.account, "service-account", "", "`name`, or namespace/name, of a service account whose rights to campaign are looked into")
	flags.BoolVar(&o.uses.WithoutWatch, "without-watch", false, "the program of -service-account polls the Lease instead of watching it")
	flags.BoolVar(&o.uses.SharedWatch, "shared-watch", false, "the electors of -service-account share one watch of all Leases of the namespace")
	flags.BoolVar(&o.uses.Events, "events", false, "the program of -service-account records events, as package manager does")
	flags.BoolVar(&o.uses.Route, "route", false, "the program of -service-account labels the leader's Pod, as package routing does")
	flags.StringVar(&o.uses.PodNamespace, "pod-namespace", "", "`namespace` of the Pods that run as -service-account; default: the Lease's")
	format := flags.String("o", "text", "`format` of the output: text, or json with one object per line")
	flags.BoolVar(&o.follow, "w", false, "go on, with a line for each change, until interrupted")
	flags.DurationVar(&o.wait, "wait", 3*time.Second, "how long to wait at most for a renewal, to tell the time by it; 0: judge by the leader's clock")
	names, err := parseAll(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(help, usage)
		flags.SetOutput(help)
		flags.PrintDefaults()
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w; -h lists the flags", err)
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
	flags.Visit(func(f *flag.Flag) { o.waits = o.waits || f.Name == "wait" })
	if err := errors.Join(o.check(), o.take(names[0])); err != nil {
		return nil, err
	}
	o.kubeconfig = rules.ExplicitPath
	o.loader = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	return o, nil
}

// kinds are what kubectl takes for Leases before a slash. A namespace of the name
// lease wants -n.
var kinds = regexp.MustCompile(`^leases?(\.(v1\.)?coordination\.k8s\.io)?$`)

// take takes the Lease's name: alone, or after its namespace, or its kind.
func (o *options) take(lease string) error {
	before, name, found := strings.Cut(lease, "/")
	switch {
	case !found:
		o.name = lease
	case kinds.MatchString(before):
		o.name = name
	case o.namespace != "" && o.namespace != before:
		return fmt.Errorf("-n (%q) and the Lease (%q) name two namespaces: leave one of them out", o.namespace, lease)
	default:
		o.namespace, o.name = before, name
		if err := checkName("the namespace of the Lease", lease, before, validation.NameIsDNSLabel); err != nil {
			return err
		}
	}
	return checkName("the name of the Lease", lease, o.name, validation.NameIsDNSSubdomain)
}

func (o *options) check() error {
	var errs []error
	if o.namespace != "" {
		errs = append(errs, checkName("-n", o.namespace, o.namespace, validation.NameIsDNSLabel))
	}
	if pods := o.uses.PodNamespace; pods != "" {
		errs = append(errs, checkName("-pod-namespace", pods, pods, validation.NameIsDNSLabel))
	}
	if o.account == "" && o.uses != (rights.Uses{}) {
		errs = append(errs, errors.New("-without-watch, -shared-watch, -events, -route and -pod-namespace say more about a -service-account: name it"))
	}
	if o.uses.WithoutWatch && o.uses.SharedWatch {
		errs = append(errs, errors.New("-without-watch and -shared-watch exclude each other"))
	}
	if o.account != "" {
		namespace, account, found := strings.Cut(o.account, "/")
		if found {
			errs = append(errs, checkName("the namespace of -service-account", o.account, namespace, validation.NameIsDNSLabel))
		} else {
			account = o.account
		}
		errs = append(errs, checkName("the name of -service-account", o.account, account, validation.NameIsDNSSubdomain))
	}
	switch {
	case o.wait < 0:
		errs = append(errs, fmt.Errorf("-wait (%v) must not be negative; with 0 nothing is waited for", o.wait))
	case o.follow && o.waits:
		errs = append(errs, fmt.Errorf("-wait (%v) is for one answer, and -w goes on: leave one of them out", o.wait))
	}
	return errors.Join(errs...)
}

// checkName refuses what no object can be named, with the server's own reason.
func checkName(what, whole, part string, check validation.ValidateNameFunc) error {
	if part == "" {
		return fmt.Errorf("%s (%q) is missing: name, or namespace/name, is expected", what, whole)
	}
	if reasons := check(part, false); len(reasons) > 0 {
		return fmt.Errorf("%s (%q) cannot be: %s", what, whole, strings.Join(reasons, "; "))
	}
	return nil
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

// config is how to reach the cluster; an error says what to give.
func (o *options) config() (*rest.Config, error) {
	config, err := o.loader.ClientConfig()
	switch {
	case err == nil:
		return config, nil
	case clientcmd.IsEmptyConfig(err):
		return nil, errors.New("no cluster is known: name a kubeconfig file with -kubeconfig or KUBECONFIG")
	case o.kubeconfig != "":
		return nil, fmt.Errorf("-kubeconfig (%q): %w", o.kubeconfig, err)
	default:
		return nil, fmt.Errorf("the kubeconfig of KUBECONFIG or the home directory: %w", err)
	}
}
