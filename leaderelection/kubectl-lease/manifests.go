package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/hack/manifests"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

// A manifest is a YAML file in hack/manifests, with a short description.
type manifest struct{ name, about string }

func (m manifest) file() string { return m.name + ".yaml" }

// allManifests lists the manifests in the order in which they must be applied.
var allManifests = []manifest{
	{"deployment", "three replicas, a PodDisruptionBudget and a service account"},
	{"rbac", "the least Role and its binding; kubectl lease rights prints it for other uses"},
	{"fencing-anchor", "the anchor policy: once in a cluster, before the first fencing, and for good"},
	{"fencing-lease", "the Lease, without a holder: before fencing, if the program has never run"},
	{"fencing", "optional: the API server refuses a stale leader's writes to ConfigMaps"},
	{"flowschema", "optional: renewals get through to an overloaded API server"},
	{"leader-service", "optional: a Service for the leader alone, for programs that label the leader's Pod"},
	{"podmonitor", "optional: metrics for the alerts, with the Prometheus operator"},
	{"prometheusrule", "optional: alerts, with the Prometheus operator"},
}

// manifestNames are the names that replace the example names in the manifests.
type manifestNames struct{ app, namespace, lease, account, image string }

func (p *plugin) manifestsCommand() *cobra.Command {
	var names manifestNames
	var long strings.Builder
	for _, m := range allManifests {
		fmt.Fprintf(&long, "  %-15s %s\n", m.name, m.about)
	}
	cmd := &cobra.Command{
		Use:   "manifests [MANIFEST...]",
		Short: "Print manifests for an application that elects its leader",
		Long: `Print manifests for an application that elects its leader, with your names filled in.
--app is required. Without an argument all manifests are printed, also the optional
ones. Choose the manifests that you need before you apply them: fencing restricts who
may write, and flowschema and fencing-anchor concern the whole cluster. The manifests:

` + long.String() + `
Change the image, the ports and the resources to your application's. The Deployment
expects probes on port 8081 and metrics on port 8080. If the name of the Lease is not
that of --app with -leader, set --lease. The README of hack/manifests in the repository describes each manifest. No request is sent.`,
		Example: `  kubectl lease manifests deployment rbac --app my-app -n my-namespace > my-app.yaml
  kubectl lease manifests --app my-app -n my-namespace | less`,
		ValidArgsFunction: func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
			var left []string
			for _, m := range allManifests {
				if strings.HasPrefix(m.name, prefix) && !slices.Contains(args, m.name) {
					left = append(left, m.name+"\t"+m.about)
				}
			}
			return left, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return p.printManifests(names, args) },
	}
	flags := cmd.Flags()
	flags.StringVar(&names.app, "app", "", "`name` of the application, its Deployment and its label; required")
	flags.StringVar(&names.lease, "lease", "", "`name` of the Lease; default: that of --app with -leader")
	flags.StringVar(&names.account, "service-account", "", "`name` of the replicas' service account; default: that of --app")
	flags.StringVar(&names.image, "image", "", "container `image`; default: a placeholder")
	return cmd
}

func (p *plugin) printManifests(names manifestNames, args []string) error {
	chosen, err := chooseManifests(args)
	if err != nil {
		return err
	}
	if names.namespace, err = p.namespace(); err != nil {
		return err
	}
	names.lease = cmp.Or(names.lease, names.app+"-leader")
	names.account = cmp.Or(names.account, names.app)
	names.image = cmp.Or(names.image, "registry.example.com/"+names.app+":v1")
	if err := names.check(chosen); err != nil {
		return err
	}
	var text strings.Builder
	for i, m := range chosen {
		content, err := manifests.Files.ReadFile(m.file())
		if err != nil {
			return err
		}
		if i > 0 {
			text.WriteString("---\n")
		}
		fmt.Fprintf(&text, "# %s: %s\n%s", m.file(), m.about, names.fillIn(string(content)))
	}
	_, err = p.out.Write([]byte(text.String()))
	return err
}

// chooseManifests returns the manifests whose names are in args, in the order in which
// they must be applied. If args is empty, it returns all manifests.
func chooseManifests(args []string) ([]manifest, error) {
	if len(args) == 0 {
		return allManifests, nil
	}
	var known []string
	for _, m := range allManifests {
		known = append(known, m.name)
	}
	for _, arg := range args {
		if !slices.Contains(known, arg) {
			return nil, fmt.Errorf("there is no manifest %q: choose from %s", arg, list(known))
		}
	}
	return slices.DeleteFunc(slices.Clone(allManifests), func(m manifest) bool { return !slices.Contains(args, m.name) }), nil
}

// fillIn replaces the example names in a manifest by the names in n. The example name
// my-app stands for several names, so most replaced texts also contain the text around
// the name. The longer texts come first in the list, because the Replacer tries the
// texts in the order of the list.
func (n manifestNames) fillIn(text string) string {
	return strings.NewReplacer(
		"registry.example.com/my-app:v1", n.image,
		"system:serviceaccount:my-namespace:my-app", "system:serviceaccount:"+n.namespace+":"+n.account,
		"serviceAccount: {namespace: my-namespace, name: my-app}", "serviceAccount: {namespace: "+n.namespace+", name: "+n.account+"}",
		"serviceAccountName: my-app", "serviceAccountName: "+n.account,
		"kind: ServiceAccount\nmetadata:\n  name: my-app\n", "kind: ServiceAccount\nmetadata:\n  name: "+n.account+"\n",
		"kind: ServiceAccount\n  name: my-app\n", "kind: ServiceAccount\n  name: "+n.account+"\n",
		"my-app-leader", n.lease,
		"my-app", n.app,
		"my-namespace", n.namespace,
	).Replace(text)
}

// check returns one error that contains all errors in the names. It returns nil if there
// are none. The manifests are those that will be printed.
func (n manifestNames) check(manifests []manifest) error {
	if n.app == "" {
		return errors.New(`--app ("") is missing: name the application`)
	}
	var errs []error
	check := func(what, text string, reasons []string) {
		var read any
		switch {
		case len(reasons) > 0:
		case strings.ContainsFunc(text, safetext.IsUnsafe):
			reasons = []string{"it has a character without a visible form: use another one"}
		case yaml.Unmarshal([]byte(text), &read) != nil || read != text:
			reasons = []string{"YAML does not read it as a text: use another one, or edit the manifests of hack/manifests"}
		}
		if len(reasons) > 0 {
			errs = append(errs, fmt.Errorf("%s (%q) is not valid: %s", what, text, strings.Join(reasons, "; ")))
		}
	}
	check("--app", n.app, utilvalidation.IsDNS1123Label(n.app))
	check("--namespace", n.namespace, validation.NameIsDNSLabel(n.namespace, false))
	check("--service-account", n.account, validation.NameIsDNSSubdomain(n.account, false))
	check("--image", n.image, nil)
	check("--lease", n.lease, validation.NameIsDNSSubdomain(n.lease, false))
	if reasons := utilvalidation.IsDNS1035Label(n.lease); len(reasons) > 0 && slices.ContainsFunc(manifests, func(m manifest) bool { return m.name == "leader-service" }) {
		errs = append(errs, fmt.Errorf("--lease (%q) cannot be the name of the Service: %s; choose the manifests to print, without leader-service",
			n.lease, strings.Join(reasons, "; ")))
	}
	return errors.Join(errs...)
}
