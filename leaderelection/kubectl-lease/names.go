package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// leaseKinds matches the names that kubectl accepts for the resource, such as lease and
// leases. The user may write such a name before the name of the Lease: lease/my-app.
// Therefore a namespace with the name "lease" must be given with -n.
var leaseKinds = regexp.MustCompile(`^leases?(\.(v1\.)?coordination\.k8s\.io)?$`)

// lease returns the namespace and the name of a Lease from an argument of the form
// NAME, NAMESPACE/NAME or lease/NAME. If arg contains no namespace, lease returns the
// namespace of the flags or of the kubeconfig.
func (p *plugin) lease(arg string) (namespace, name string, err error) {
	flag := p.overrides.Context.Namespace
	namespace = flag
	before, after, found := strings.Cut(arg, "/")
	switch {
	case !found:
		name = arg
	case leaseKinds.MatchString(before):
		name = after
	case flag != "" && flag != before:
		return "", "", fmt.Errorf("--namespace (%q) and the Lease (%q) name two namespaces: leave one of them out", flag, arg)
	default:
		namespace, name = before, after
		if err := checkName("the namespace of the Lease", arg, before, validation.NameIsDNSLabel); err != nil {
			return "", "", err
		}
	}
	if flag != "" {
		if err := checkName("--namespace", flag, flag, validation.NameIsDNSLabel); err != nil {
			return "", "", err
		}
	}
	if err := checkName("the name of the Lease", arg, name, validation.NameIsDNSSubdomain); err != nil {
		return "", "", err
	}
	if namespace == "" {
		namespace, err = p.namespace()
	}
	return namespace, name, err
}

// oneLease returns an error unless there is exactly one argument.
func oneLease(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("the name of one Lease is expected, not %q: %s", args, cmd.UseLine())
}

// checkName checks the name in the parameter part. It returns an error if the API server
// would refuse this name. check is the API server's function for such
// names. text is the value of the flag or argument that contains the name,
// and what is a description of the name for the error.
func checkName(what, text, part string, check validation.ValidateNameFunc) error {
	if part == "" {
		return fmt.Errorf("%s (%q) is missing: give name, or namespace/name", what, text)
	}
	if reasons := check(part, false); len(reasons) > 0 {
		return fmt.Errorf("%s (%q) is not valid: %s", what, text, strings.Join(reasons, "; "))
	}
	return nil
}

// serviceAccount splits the value of --service-account, which is name or
// namespace/name. namespace is "" if the value contains only a name.
func serviceAccount(text string) (namespace, name string, err error) {
	namespace, name, found := strings.Cut(text, "/")
	if !found {
		namespace, name = "", text
	} else if err := checkName("the namespace of --service-account", text, namespace, validation.NameIsDNSLabel); err != nil {
		return "", "", err
	}
	return namespace, name, checkName("the name of --service-account", text, name, validation.NameIsDNSSubdomain)
}

const serviceAccountUsage = "`name`, or namespace/name, of the replicas' service account"

// addUsesFlags adds the flags that describe how the program uses the election.
func addUsesFlags(flags *pflag.FlagSet, uses *rights.Uses) {
	flags.BoolVar(&uses.WithoutWatch, "without-watch", false, "the program polls the Lease instead of watching it")
	flags.BoolVar(&uses.SharedWatch, "shared-watch", false, "the program's electors share one watch of all Leases of the namespace")
	flags.BoolVar(&uses.Events, "events", false, "the program records events, as package manager does: on the Lease and on its Pod")
	flags.BoolVar(&uses.ProofOfDeath, "proof-of-death", false, "the program reads the leader's Pod after a crash, as WithProofOfDeath and package manager do")
	flags.BoolVar(&uses.Route, "route", false, "the program labels the leader's Pod, as package routing does")
	flags.StringVar(&uses.PodNamespace, "pod-namespace", "", "`namespace` of the replicas' Pods; default: that of the Lease")
}

// checkUses returns one error that contains all errors in the flags of addUsesFlags, or
// nil.
func checkUses(uses *rights.Uses) error {
	var errs []error
	if uses.WithoutWatch && uses.SharedWatch {
		errs = append(errs, errors.New("--without-watch and --shared-watch exclude each other: leave one of them out"))
	}
	if pods := uses.PodNamespace; pods != "" {
		errs = append(errs, checkName("--pod-namespace", pods, pods, validation.NameIsDNSLabel))
	}
	return errors.Join(errs...)
}
