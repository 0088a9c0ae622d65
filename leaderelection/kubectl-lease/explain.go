package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

var explainFormats = []string{"text", "json", "yaml"}

// explainOptions are the flags and the argument of the command explain.
type explainOptions struct {
	namespace, name string // of the Lease

	account, accountNamespace string // from --service-account; if account is "", rights are not checked
	uses                      rights.Uses

	output string
	watch  bool
	wait   time.Duration
}

func (p *plugin) explainCommand() *cobra.Command {
	o := &explainOptions{}
	var account string
	cmd := &cobra.Command{
		Use:   "explain NAME",
		Short: "Report who leads a Lease and since when, or why nobody does",
		Long: `Report who leads a Lease and since when, or why nobody does, when it may be claimed,
who the successor is, what happened before, and which policies guard the leader's writes.

NAME may also be NAMESPACE/NAME or lease/NAME.

The line "Early" states whether the kubelet's report on the holder's container permits a
claim before the Lease expires, and if not, why. This needs the right to get the pod.

It needs the right to get the Lease. With the right to watch it, it misses no change.
With --watch it also reports that contact is lost, and does not report a leader as
expired because of that.

Exit codes: 0 means that the holder leads, 1 that nobody leads, 2 that this is not known,
or an error. With --watch, 0 means that it was interrupted, with or without a leader.`,
		Example: `  kubectl lease explain -n kube-system kube-scheduler
  kubectl lease explain -n my-namespace -w my-app-leader
  kubectl lease explain -n my-namespace my-app-leader --service-account my-app --events -o json`,
		Args:              oneLease,
		ValidArgsFunction: p.completeLeases,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.check(cmd, account); err != nil {
				return err
			}
			var err error
			if o.namespace, o.name, err = p.lease(args[0]); err != nil {
				return err
			}
			clientset, err := p.clientset()
			if err != nil {
				return err
			}
			p.code, err = o.explain(cmd.Context(), clientset, p.out, func(err error) { _, _ = fmt.Fprintln(p.errOut, "warning:", message(err)) })
			return err
		},
	}
	flags := cmd.Flags()
	addOutputFlag(cmd, &o.output, explainFormats...)
	flags.BoolVarP(&o.watch, "watch", "w", false, "report each change until interrupted")
	flags.DurationVar(&o.wait, "wait", 3*time.Second, "wait at most that long for a renewal, which shows that the holder is alive; 0: rely on the holder's clock")
	flags.StringVar(&account, "service-account", "", serviceAccountUsage+"; report which rights it lacks")
	addUsesFlags(flags, &o.uses)
	return cmd
}

// check returns one error that contains all errors in the flags, or nil.
func (o *explainOptions) check(cmd *cobra.Command, account string) error {
	errs := []error{checkOutput(o.output, explainFormats...), checkUses(&o.uses)}
	if account == "" && o.uses != (rights.Uses{}) {
		errs = append(errs, errors.New("--without-watch, --shared-watch, --events, --proof-of-death, --route and --pod-namespace need --service-account: name the account"))
	}
	if account != "" {
		var err error
		o.accountNamespace, o.account, err = serviceAccount(account)
		errs = append(errs, err)
	}
	switch {
	case o.wait < 0:
		errs = append(errs, fmt.Errorf("--wait (%v) must not be negative", o.wait))
	case o.watch && cmd.Flags().Changed("wait"):
		errs = append(errs, fmt.Errorf("--wait (%v) and --watch exclude each other: leave one of them out", o.wait))
	}
	return errors.Join(errs...)
}
