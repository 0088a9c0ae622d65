// Command fence prints the admission policy that refuses the writes of all but the
// leader, for kubectl apply:
//
//	go run ./hack/fence -lease my-namespace/my-app-leader -service-account my-app \
//		-resources configmaps,deployments.apps | kubectl apply -f -
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
	fence, err := parse(args, help)
	if err != nil {
		return err
	}
	policy, binding, err := fencing.Policy(fence)
	if err != nil {
		return err
	}
	// The Lease comes first: without it the policy closes what it guards.
	return write(out, fencing.Lease(fence), policy, binding)
}

func parse(args []string, help io.Writer) (fencing.Fence, error) {
	var f fencing.Fence
	flags := flag.NewFlagSet("fence", flag.ContinueOnError)
	flags.SetOutput(help)
	lease := flags.String("lease", "", "the Lease, as `namespace/name`")
	account := flags.String("service-account", "", "the service account that the replicas run under, as `[namespace/]name`; its namespace is that of the Lease if it is not given")
	resources := flags.String("resources", "", "what only the leader writes, as `plural[.group]`, with commas between them")
	namespaces := flags.String("namespaces", "", "guard objects in these namespaces only, with commas between them")
	modes := flags.String("mode", "pod", "how stale writers are told: pod, term, or pod,term; by term the program must write through fencing.StampTransport")
	flags.BoolVar(&f.OpenWithoutLease, "open-without-lease", false, "let everybody write while the Lease does not exist, instead of nobody")
	flags.BoolVar(&f.ReportOnly, "report-only", false, "refuse nothing, warn and write into the audit log")
	flags.StringVar(&f.Name, "name", "", "tells several policies for one Lease apart")
	if err := flags.Parse(args); err != nil {
		return f, err
	}
	if flags.NArg() > 0 {
		return f, fmt.Errorf("%q: only flags are expected", flags.Arg(0))
	}
	var found bool
	if f.LeaseNamespace, f.LeaseName, found = strings.Cut(*lease, "/"); !found {
		return f, fmt.Errorf("-lease (%q) must be namespace/name", *lease)
	}
	if f.ServiceAccountNamespace, f.ServiceAccount, found = strings.Cut(*account, "/"); !found {
		f.ServiceAccountNamespace, f.ServiceAccount = "", *account
	}
	for _, resource := range list(*resources) {
		f.Resources = append(f.Resources, schema.ParseGroupResource(resource))
	}
	f.Namespaces = list(*namespaces)
	for _, mode := range list(*modes) {
		switch mode {
		case "pod":
			f.Mode |= fencing.ByPod
		case "term":
			f.Mode |= fencing.ByTerm
		default:
			return f, fmt.Errorf("-mode (%q) must be pod, term, or pod,term", *modes)
		}
	}
	return f, nil
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
