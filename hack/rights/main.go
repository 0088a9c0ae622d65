// Command rights prints the Role that an election needs and its binding, for
// kubectl apply:
//
//	go run ./hack/rights -lease my-namespace/my-app-leader -service-account my-app -events | kubectl apply -f -
//
// It gives no right more than package leaderelection/rights knows to be needed.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/runtime"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/haproxy-template-ic/incumbent/hack/apply"
	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

const usage = `rights prints the least Role for an election, and its binding to the service account of the replicas.

  rights -lease my-namespace/my-app-leader -service-account my-app -events | kubectl apply -f -

-lease and -service-account are required; the others say what the program does with the election.

`

func main() { apply.Main("rights", run) }

func run(args []string, out, notes io.Writer) error {
	o, err := parse(args, notes)
	if err != nil {
		return err
	}
	roles, bindings := o.uses.Roles(o.name, o.accountNamespace, o.account)
	var objects []runtime.Object
	for i := range roles {
		objects = append(objects, roles[i], bindings[i])
	}
	return apply.Write(out, objects...)
}

// orders are what is asked for.
type orders struct {
	uses                            rights.Uses
	name, accountNamespace, account string
}

func parse(args []string, notes io.Writer) (o orders, err error) {
	flags := flag.NewFlagSet("rights", flag.ContinueOnError)
	lease := flags.String("lease", "", "`namespace/name` of the Lease; required")
	account := flags.String("service-account", "", "`name` of the service account, or namespace/name; its namespace is that of the Pods if it is not given; required")
	flags.StringVar(&o.name, "name", "", "`name` of the Role and its binding; default: the Lease's name")
	flags.BoolVar(&o.uses.WithoutWatch, "without-watch", false, "it polls the Lease instead of watching it")
	flags.BoolVar(&o.uses.SharedWatch, "shared-watch", false, "its electors share one watch of all Leases of the namespace")
	flags.BoolVar(&o.uses.Events, "events", false, "it records events, as package manager does: on the Lease and, with -pod-namespace, on its Pod")
	flags.BoolVar(&o.uses.Route, "route", false, "it labels the leader's Pod")
	flags.StringVar(&o.uses.PodNamespace, "pod-namespace", "", "`namespace` of the Pods, if it is not the Lease's")
	if err := apply.Parse(flags, args, usage, notes); err != nil {
		return o, err
	}
	o.uses.PodEvents = o.uses.Events

	var errs refusals
	if flags.NArg() > 0 {
		errs.add("%q: only flags are expected", flags.Args())
	}
	if o.uses.WithoutWatch && o.uses.SharedWatch {
		errs.add("-without-watch and -shared-watch exclude each other")
	}
	var ok bool
	if o.uses.LeaseNamespace, o.uses.LeaseName, ok = cut(*lease); !ok {
		errs.add("-lease (%q) must be namespace/name", *lease)
	} else {
		errs.check("-lease", *lease, "a namespace", o.uses.LeaseNamespace, utilvalidation.IsDNS1123Label)
		errs.check("-lease", *lease, "a Lease", o.uses.LeaseName, subdomain)
	}
	if pods := o.uses.PodNamespace; pods != "" {
		errs.check("-pod-namespace", pods, "a namespace", pods, utilvalidation.IsDNS1123Label)
	}
	where, name, given := strings.Cut(*account, "/")
	if !given {
		where, name = cmp.Or(o.uses.PodNamespace, o.uses.LeaseNamespace), *account
	}
	switch o.accountNamespace, o.account = where, name; {
	case name == "" || given && where == "" || strings.Contains(name, "/"):
		errs.add("-service-account (%q) must be name or namespace/name", *account)
	default:
		errs.check("-service-account", *account, "a service account", name, subdomain)
		if given {
			errs.check("-service-account", *account, "a namespace", where, utilvalidation.IsDNS1123Label)
		}
	}
	if o.name != "" {
		errs.check("-name", o.name, "a Role", o.name, content.IsPathSegmentName)
	}
	o.name = cmp.Or(o.name, o.uses.LeaseName)
	return o, errors.Join(errs...)
}

// refusals are all that is wrong.
type refusals []error

func (r *refusals) add(format string, args ...any) { *r = append(*r, fmt.Errorf(format, args...)) }

// check refuses what the API server refuses as a name.
func (r *refusals) check(flag, value, of, name string, check func(string) []string) {
	for _, msg := range check(name) {
		r.add("%s (%q): %q cannot be the name of %s: %s", flag, value, name, of, msg)
	}
}

func subdomain(name string) []string { return validation.NameIsDNSSubdomain(name, false) }

// cut takes a namespace and a name apart.
func cut(text string) (namespace, name string, ok bool) {
	namespace, name, _ = strings.Cut(text, "/")
	return namespace, name, namespace != "" && name != "" && !strings.Contains(name, "/")
}
