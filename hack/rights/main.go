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
	"os"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func main() {
	err := run(os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "rights:", err)
		os.Exit(2)
	}
}

func run(args []string, out, help io.Writer) error {
	var uses rights.Uses
	flags := flag.NewFlagSet("rights", flag.ContinueOnError)
	flags.SetOutput(help)
	lease := flags.String("lease", "", "`namespace/name` of the Lease")
	account := flags.String("service-account", "", "`name` of the service account, or namespace/name; its namespace is that of the Pods if it is not given")
	name := flags.String("name", "", "`name` of the Role and its binding; default: the Lease's name")
	flags.BoolVar(&uses.WithoutWatch, "without-watch", false, "it polls the Lease instead of watching it")
	flags.BoolVar(&uses.SharedWatch, "shared-watch", false, "its electors share one watch of all Leases of the namespace")
	flags.BoolVar(&uses.Events, "events", false, "it records events, as package manager does: on the Lease and, with -pod-namespace, on its Pod")
	flags.BoolVar(&uses.Route, "route", false, "it labels the leader's Pod")
	flags.StringVar(&uses.PodNamespace, "pod-namespace", "", "`namespace` of the Pods, if it is not the Lease's")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q: only flags are expected", flags.Arg(0))
	}
	uses.PodEvents = uses.Events
	if uses.WithoutWatch && uses.SharedWatch {
		return errors.New("-without-watch and -shared-watch exclude each other")
	}
	var ok bool
	if uses.LeaseNamespace, uses.LeaseName, ok = cut(*lease); !ok {
		return fmt.Errorf("-lease (%q) must be namespace/name", *lease)
	}
	full := *account
	if !strings.Contains(full, "/") {
		full = cmp.Or(uses.PodNamespace, uses.LeaseNamespace) + "/" + full
	}
	accountNamespace, accountName, ok := cut(full)
	if !ok {
		return fmt.Errorf("-service-account (%q) must be name or namespace/name", *account)
	}
	if *name == "" {
		*name = uses.LeaseName
	}
	roles, bindings := uses.Roles(*name, accountNamespace, accountName)
	var objects []runtime.Object
	for i := range roles {
		objects = append(objects, roles[i], bindings[i])
	}
	return write(out, objects...)
}

// cut takes a namespace and a name apart.
func cut(text string) (namespace, name string, ok bool) {
	namespace, name, _ = strings.Cut(text, "/")
	return namespace, name, namespace != "" && name != "" && !strings.Contains(name, "/")
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
