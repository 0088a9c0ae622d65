// Command fence prints the admission policy that refuses the writes of all but the
// leader, for kubectl apply:
//
//	go run ./hack/fence -lease my-namespace/my-app-leader -service-account my-app \
//		-resources configmaps,deployments.apps | kubectl apply -f -
//
// The Lease must be there by then, or what is guarded is closed to everybody: with
// -with-lease it is printed as well, before the policy. It is left out otherwise, so
// that the same command with kubectl delete takes the fence away and nothing else:
// whoever deletes a Lease ends the term of its leader.
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
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/hack/apply"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

const usage = `fence prints an admission policy that refuses the writes of all replicas but the leader.

  fence -lease my-namespace/my-app-leader -service-account my-app -resources configmaps,deployments.apps | kubectl apply -f -

-lease, -service-account and -resources are required, or -keeper alone: apply what that prints once in a cluster,
before the first fence, and leave it there. The Lease must exist, or -with-lease be given.

`

func main() { apply.Main("fence", run) }

func run(args []string, out, notes io.Writer) error {
	o, err := parse(args, notes)
	if err != nil && !errors.As(err, new(wrong)) {
		return err
	}
	if o.keeper {
		if err != nil {
			return err
		}
		policy, binding := fencing.AnchorPolicy()
		return apply.Write(out, policy, binding)
	}
	policy, binding, refused := fencing.Policy(o.fence)
	if err := errors.Join(err, refused); err != nil {
		return err
	}
	objects := []runtime.Object{policy, binding}
	if o.withLease {
		objects = append([]runtime.Object{fencing.Lease(o.fence)}, objects...)
	}
	if param := binding.Spec.ParamRef; param != nil && *param.ParameterNotFoundAction == admissionv1.DenyAction && !o.withLease {
		_, _ = fmt.Fprintf(notes, "fence: while the Lease %s/%s does not exist, what is guarded is closed to everybody: "+
			"if nobody has led yet, give -with-lease\n", param.Namespace, param.Name)
	}
	if _, err := io.WriteString(out, heading(o, policy.Name)); err != nil {
		return err
	}
	return apply.Write(out, objects...)
}

// heading says how to take away what is printed.
func heading(o orders, policy string) string {
	text := "# To take this fence away:\n" +
		"# kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy " + policy + "\n"
	if o.withLease {
		text += "# Not with kubectl delete -f, nor change it with kubectl replace: the Lease is in here, and its\n" +
			"# leader's term would end. kubectl apply takes nothing from a leader.\n"
	}
	return text
}

// orders are what is asked for.
type orders struct {
	fence             fencing.Fence
	keeper, withLease bool
}

// wrong is a flag that is understood, but says what cannot be.
type wrong string

func (w wrong) Error() string { return string(w) }

func parse(args []string, notes io.Writer) (o orders, err error) {
	flags := flag.NewFlagSet("fence", flag.ContinueOnError)
	lease := flags.String("lease", "", "the Lease, as `namespace/name`; required")
	account := flags.String("service-account", "", "the service account that the replicas run under, as `[namespace/]name`; its namespace is that of the Lease if it is not given; required")
	resources := flags.String("resources", "", "what only the leader writes, as `plural[.group]`, with commas between them; required")
	namespaces := flags.String("namespaces", "", "guard objects in these namespaces only, with commas between them")
	modes := flags.String("mode", "pod", "how stale writers are told: pod, term, or pod,term; by term the program must write through fencing.StampTransport")
	flags.BoolVar(&o.fence.OpenWithoutLease, "open-without-lease", false, "let everybody write while the Lease does not exist, instead of nobody; not with -mode pod,term: print one policy for each")
	flags.BoolVar(&o.fence.ReportOnly, "report-only", false, "refuse nothing, warn and write into the audit log")
	flags.StringVar(&o.fence.Name, "name", "", "tells several policies for one Lease apart: give each one of its own")
	flags.BoolVar(&o.withLease, "with-lease", false, "print the Lease as well, for a program that has not run yet; do not kubectl delete that")
	flags.BoolVar(&o.keeper, "keeper", false, "print what every cluster needs once, and nothing else")
	if err := apply.Parse(flags, args, usage, notes); err != nil {
		return o, err
	}
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, wrong(fmt.Sprintf(format, args...))) }
	if flags.NArg() > 0 {
		refuse("%q: only flags are expected", flags.Args())
	}
	if o.keeper {
		if flags.NFlag() > 1 {
			refuse("-keeper is about no Lease: give it alone")
		}
		return o, errors.Join(errs...)
	}
	f, found := &o.fence, false
	if f.LeaseNamespace, f.LeaseName, found = strings.Cut(*lease, "/"); !found {
		refuse("-lease (%q) must be namespace/name", *lease)
		f.LeaseNamespace, f.LeaseName = "namespace", "name" // so that only the rest is told of later
	}
	if f.ServiceAccountNamespace, f.ServiceAccount, found = strings.Cut(*account, "/"); !found {
		f.ServiceAccountNamespace, f.ServiceAccount = "", *account
	}
	for _, resource := range list(*resources) {
		f.Resources = append(f.Resources, schema.ParseGroupResource(resource))
	}
	f.Namespaces = list(*namespaces)
	f.Mode = modeOf(*modes, refuse)
	return o, errors.Join(errs...)
}

func modeOf(text string, refuse func(string, ...any)) (mode fencing.Mode) {
	for _, name := range list(text) {
		switch name {
		case "pod":
			mode |= fencing.ByPod
		case "term":
			mode |= fencing.ByTerm
		default:
			refuse("-mode (%q) must be pod, term, or pod,term", text)
		}
	}
	return mode
}

// list splits at commas; an empty text has no parts.
func list(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}
