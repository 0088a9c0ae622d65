package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/validation/path"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

func (p *plugin) rightsCommand() *cobra.Command {
	var uses rights.Uses
	var account, role, output string
	cmd := &cobra.Command{
		Use:   "rights NAME",
		Short: "Print the least Role for an election, and its binding to a service account",
		Long: `Print the least Role for an election, and its binding to the service account of the
replicas. --service-account is required. The other flags describe what the program does
with the election.

NAME is the Lease's name, and may also be NAMESPACE/NAME or lease/NAME. A --service-account
without a namespace is in that of --pod-namespace, or in that of the Lease.

No request is sent. 'kubectl lease explain --service-account' reports missing rights.`,
		Example:           `  kubectl lease rights -n my-namespace my-app-leader --service-account my-app --events | kubectl apply -f -`,
		Args:              oneLease,
		ValidArgsFunction: p.completeLeases,
		RunE: func(_ *cobra.Command, args []string) error {
			errs := []error{checkOutput(output, objectFormats...), checkUses(&uses)}
			var err error
			uses.LeaseNamespace, uses.LeaseName, err = p.lease(args[0])
			errs = append(errs, err)
			accountNamespace, accountName, err := serviceAccount(account)
			errs = append(errs, err)
			if role != "" {
				for _, reason := range path.IsValidPathSegmentName(role) { // the name of a Role may contain more kinds of characters than most names
					errs = append(errs, fmt.Errorf("--name (%q) is not valid: %s", role, reason))
				}
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
			uses.PodEvents = uses.Events
			accountNamespace = cmp.Or(accountNamespace, uses.PodNamespace, uses.LeaseNamespace)
			roles, bindings := uses.Roles(cmp.Or(role, uses.LeaseName), accountNamespace, accountName)
			var objects []runtime.Object
			for i := range roles {
				objects = append(objects, roles[i], bindings[i])
			}
			return printObjects(p.out, output, "", objects...)
		},
	}
	flags := cmd.Flags()
	addOutputFlag(cmd, &output, objectFormats...)
	flags.StringVar(&account, "service-account", "", serviceAccountUsage+"; required")
	flags.StringVar(&role, "name", "", "`name` of the Role and its binding; default: the Lease's name")
	addUsesFlags(flags, &uses)
	return cmd
}
