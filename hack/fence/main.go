// Command fence prints the admission policy that refuses the writes of all but the
// leader, for kubectl apply:
//
//	go run ./hack/fence -lease my-namespace/my-app-leader -service-account my-app \
//		-resources configmaps,deployments.apps | kubectl apply -f -
//
// Before the first one that compares pods, once in a cluster, comes a policy that
// guards nothing but keeps the API servers following Leases; leave it there:
//
//	go run ./hack/fence -keeper | kubectl apply -f -
//
// What the policy guarantees, and what not, is in the documentation of package
// leaderelection/fencing.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "fence:", err)
		os.Exit(2)
	}
}

func run(args []string, out, help io.Writer) error {
	o, err := parse(args, help)
	if err != nil {
		return err
	}
	if o.keeper {
		policy, binding := fencing.Keeper()
		return write(out, policy, binding)
	}
	policy, binding, err := fencing.Policy(o.fence)
	if err != nil {
		return err
	}
	// The Lease comes first: without it the policy closes what it guards.
	return write(out, fencing.Lease(o.fence), policy, binding)
}

// orders are what is asked for.
type orders struct {
	fence  fencing.Fence
	keeper bool
}

func parse(args []string, help io.Writer) (o orders, err error) {
	flags := flag.NewFlagSet("fence", flag.ContinueOnError)
	flags.SetOutput(help)
	lease := flags.String("lease", "", "the Lease, as `namespace/name`")
	account := flags.String("service-account", "", "the service account that the replicas run under, as `[namespace/]name`; its namespace is that of the Lease if it is not given")
	resources := flags.String("resources", "", "what only the leader writes, as `plural[.group]`, with commas between them")
	namespaces := flags.String("namespaces", "", "guard objects in these namespaces only, with commas between them")
	modes := flags.String("mode", "pod", "how stale writers are told: pod, term, or pod,term; by term the program must write through fencing.StampTransport")
	flags.BoolVar(&o.fence.OpenWithoutLease, "open-without-lease", false, "let everybody write while the Lease does not exist, instead of nobody; not with -mode pod,term: print one policy for each")
	flags.BoolVar(&o.fence.ReportOnly, "report-only", false, "refuse nothing, warn and write into the audit log")
	flags.StringVar(&o.fence.Name, "name", "", "tells several policies for one Lease apart: give each one of its own")
	flags.BoolVar(&o.keeper, "keeper", false, "print what every cluster needs once, and nothing else")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q: only flags are expected", flags.Arg(0))
	case o.keeper && flags.NFlag() > 1:
		return o, errors.New("-keeper is about no Lease: give it alone")
	case o.keeper:
		return o, nil
	}
	f, found := &o.fence, false
	if f.LeaseNamespace, f.LeaseName, found = strings.Cut(*lease, "/"); !found {
		return o, fmt.Errorf("-lease (%q) must be namespace/name", *lease)
	}
	if f.ServiceAccountNamespace, f.ServiceAccount, found = strings.Cut(*account, "/"); !found {
		f.ServiceAccountNamespace, f.ServiceAccount = "", *account
	}
	for _, resource := range list(*resources) {
		f.Resources = append(f.Resources, schema.ParseGroupResource(resource))
	}
	f.Namespaces = list(*namespaces)
	f.Mode, err = modeOf(*modes)
	return o, err
}

func modeOf(text string) (mode fencing.Mode, err error) {
	for _, name := range list(text) {
		switch name {
		case "pod":
			mode |= fencing.ByPod
		case "term":
			mode |= fencing.ByTerm
		default:
			return mode, fmt.Errorf("-mode (%q) must be pod, term, or pod,term", text)
		}
	}
	return mode, nil
}

// list splits at commas; an empty text has no parts.
func list(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}

func write(out io.Writer, objects ...runtime.Object) error {
	serializer := json.NewSerializerWithOptions(json.DefaultMetaFactory, nil, nil, json.SerializerOptions{Yaml: true})
	for i, object := range objects {
		if i > 0 {
			if _, err := io.WriteString(out, "---\n"); err != nil {
				return err
			}
		}
		if err := serializer.Encode(object, out); err != nil {
			return err
		}
	}
	return nil
}
