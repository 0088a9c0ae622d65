package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// fenceOptions are the flags of the command fence.
type fenceOptions struct {
	fence                                        fencing.Fence
	account, resources, namespaces, mode, output string
	anchor, withLease                            bool
}

func (p *plugin) fenceCommand() *cobra.Command {
	o := &fenceOptions{}
	cmd := &cobra.Command{
		Use:   "fence NAME",
		Short: "Print the admission policy that refuses the writes of all replicas but the leader",
		Long: `Print the admission policy that refuses the writes of all replicas but the leader.
--service-account and --resources are required. Package leaderelection/fencing documents
what the policy guarantees.

NAME is the Lease's name, and may also be NAMESPACE/NAME or lease/NAME.

Before the first policy of a cluster that compares Pods, apply what --anchor prints and
never delete it: the anchor policy guards nothing, but the API servers stop following
Leases when the last policy that reads one is deleted.

While the Lease does not exist, all writes to the guarded resources are refused. For a
program that has never run, --with-lease prints the Lease as well, before the policy.
Without it, the same command piped into kubectl delete deletes the policy and nothing
else. Deleting a Lease ends the term of its leader.

No request is sent.`,
		Example: `  kubectl lease fence --anchor | kubectl apply -f -
  kubectl lease fence -n my-namespace my-app-leader --service-account my-app \
    --resources configmaps,deployments.apps | kubectl apply -f -`,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.anchor && len(args) == 0 {
				return nil
			}
			if o.anchor {
				return fmt.Errorf("--anchor concerns all Leases: leave %q out", args)
			}
			return oneLease(cmd, args)
		},
		ValidArgsFunction: p.completeLeases,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.anchor {
				return p.printAnchor(cmd, o)
			}
			return p.printFence(o, args[0])
		},
	}
	flags := cmd.Flags()
	addOutputFlag(cmd, &o.output, objectFormats...)
	flags.StringVar(&o.account, "service-account", "", serviceAccountUsage+"; default namespace: the Lease's; required")
	flags.StringVar(&o.resources, "resources", "", "the resources that only the leader writes, as `plural[.group]`, separated by commas; required")
	flags.StringVar(&o.namespaces, "namespaces", "", "guard only objects in these `namespaces`, separated by commas; default: all")
	flags.StringVar(&o.mode, "mode", "pod", "`how` stale writers are recognized: pod, term, or pod,term; with term the program must write through fencing.StampTransport")
	flags.BoolVar(&o.fence.OpenWithoutLease, "open-without-lease", false, "admit all writes while the Lease does not exist; not with --mode pod,term: print one policy for each")
	flags.BoolVar(&o.fence.ReportOnly, "report-only", false, "refuse no writes, but send warnings and write them to the audit log")
	flags.StringVar(&o.fence.Name, "name", "", "`name` that distinguishes this policy from others for the same Lease")
	flags.BoolVar(&o.withLease, "with-lease", false, "print the Lease as well; do not pipe the output into kubectl delete then")
	flags.BoolVar(&o.anchor, "anchor", false, "print the anchor policy, which each cluster needs once")
	modes := cobra.FixedCompletions([]string{"pod", "term", "pod,term"}, cobra.ShellCompDirectiveNoFileComp)
	if err := cmd.RegisterFlagCompletionFunc("mode", modes); err != nil {
		panic("bug: " + err.Error())
	}
	return cmd
}

func (p *plugin) printAnchor(cmd *cobra.Command, o *fenceOptions) error {
	for _, flag := range []string{"service-account", "resources", "namespaces", "mode", "open-without-lease", "report-only", "name", "with-lease"} {
		if cmd.Flags().Changed(flag) {
			return fmt.Errorf("--anchor and --%s exclude each other: leave one of them out", flag)
		}
	}
	if err := checkOutput(o.output, objectFormats...); err != nil {
		return err
	}
	policy, binding := fencing.AnchorPolicy()
	return printObjects(p.out, o.output, "", policy, binding)
}

func (p *plugin) printFence(o *fenceOptions, lease string) error {
	if err := o.complete(p, lease); err != nil {
		return err
	}
	policy, binding, err := fencing.Policy(o.fence)
	if err != nil {
		return err
	}
	objects := []runtime.Object{policy, binding}
	if o.withLease {
		objects = append([]runtime.Object{fencing.Lease(o.fence)}, objects...)
	}
	if param := binding.Spec.ParamRef; param != nil && *param.ParameterNotFoundAction == admissionv1.DenyAction && !o.withLease {
		_, _ = fmt.Fprintf(p.errOut, "warning: while the Lease %s/%s does not exist, all writes to the guarded resources are refused: "+
			"if the program has never run, use --with-lease\n", param.Namespace, param.Name)
	}
	return printObjects(p.out, o.output, fenceComment(o, policy.Name), objects...)
}

// fenceComment returns a YAML comment that describes how to delete the policy.
func fenceComment(o *fenceOptions, policy string) string {
	text := "# To remove this fence:\n" +
		"# kubectl delete validatingadmissionpolicybinding,validatingadmissionpolicy " + policy + "\n"
	if o.withLease {
		text += "# Do not use kubectl delete -f or kubectl replace: this file contains the Lease, and its leader's\n" +
			"# term would end. kubectl apply does not change the holder.\n"
	}
	return text
}

// complete sets the fields of o.fence from the flags and from the argument lease. It
// returns one error that contains all errors, including the errors of fencing.Policy.
// If a value is invalid, complete sets the field to a valid placeholder. Without the
// placeholder, fencing.Policy would report the same error again.
func (o *fenceOptions) complete(p *plugin, lease string) error {
	f := &o.fence
	errs := []error{checkOutput(o.output, objectFormats...)}
	fail := func(err error) bool { errs = append(errs, err); return err != nil }
	var err error
	if f.LeaseNamespace, f.LeaseName, err = p.lease(lease); fail(err) {
		f.LeaseNamespace, f.LeaseName = "namespace", "name"
	}
	if f.ServiceAccountNamespace, f.ServiceAccount, err = serviceAccount(o.account); fail(err) {
		f.ServiceAccountNamespace, f.ServiceAccount = "", "name"
	}
	for _, resource := range split(o.resources) {
		f.Resources = append(f.Resources, schema.ParseGroupResource(resource))
	}
	if len(f.Resources) == 0 {
		errs = append(errs, fmt.Errorf("--resources (%q) is missing: name what only the leader writes, such as configmaps,deployments.apps", o.resources))
		f.Resources = []schema.GroupResource{{Resource: "configmaps"}}
	}
	f.Namespaces = split(o.namespaces)
	if f.Mode, err = modeOf(o.mode); fail(err) {
		f.Mode = fencing.ByPod
	}
	_, _, err = fencing.Policy(*f)
	return errors.Join(append(errs, err)...)
}

func modeOf(text string) (mode fencing.Mode, err error) {
	for _, name := range split(text) {
		switch name {
		case "pod":
			mode |= fencing.ByPod
		case "term":
			mode |= fencing.ByTerm
		default:
			return 0, fmt.Errorf("--mode (%q) must be pod, term, or pod,term", text)
		}
	}
	return mode, nil
}

// split splits a list at commas and spaces. If text is empty, split returns an empty
// list.
func split(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
}
