package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease/internal/adopt"
)

func (p *plugin) adoptCommand() *cobra.Command {
	var program string
	var write bool
	cmd := &cobra.Command{
		Use:   "adopt DIR",
		Short: "Change an operator so that package manager elects its leader",
		Long: `Change an operator that kubebuilder has scaffolded, so that package manager of this
module elects its leader. DIR is the folder of the operator, which contains go.mod.

The command prints the changes as a diff. It writes them only with --write, all files or
none. It changes:

  - the program: manager.New replaces ctrl.NewManager, and the probes use manager.Live and
    manager.Ready where they used healthz.Ping
  - the Role in config/rbac: the rights to watch the Lease and to record events
  - the Deployment in config/manager: POD_NAME, POD_NAMESPACE, POD_UID, and both probes

Existing comments and formatting remain. An operator that is adopted already is not
changed. The exit code is 1 if the operator cannot be adopted; no file is changed then.
No request is sent.`,
		Example: `  kubectl lease adopt .
  kubectl lease adopt . --write && go get ` + adopt.Module + `@latest`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("one folder is expected, not %q: %s", args, cmd.UseLine())
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
		RunE: func(_ *cobra.Command, args []string) error {
			err := p.adopt(args[0], program, write)
			if err != nil {
				p.code = exitRefused
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&write, "write", false, "write the changed files; default: print the diff only")
	cmd.Flags().StringVar(&program, "main", "", "`path` below DIR of the Go file that calls ctrl.NewManager; default: search for it")
	return cmd
}

// adopt prints the changes of the operator in the folder dir, and writes them if write is
// true.
func (p *plugin) adopt(dir, program string, write bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("the folder %q cannot be opened: %w", dir, err)
	}
	defer func() { _ = root.Close() }()
	plan, err := adopt.Make(root, program)
	if err != nil {
		return err
	}
	if write {
		if err := plan.Write(root); err != nil {
			return err
		}
	}
	text := plan.Diff()
	if text == "" {
		text = fmt.Sprintf("nothing to do: the operator in %q is adopted\n", dir)
	}
	if _, err := p.out.Write([]byte(text)); err != nil {
		return err
	}
	notes := plan.Notes
	if !plan.Required {
		notes = append(notes, "go.mod does not require the module: run 'go get "+adopt.Module+"@latest && go mod tidy' in "+dir)
	}
	if len(plan.Changes) > 0 && !write {
		notes = append(notes, "nothing was written: add --write to write the changes")
	}
	for _, note := range notes {
		if _, err := fmt.Fprintln(p.errOut, "note:", note); err != nil {
			return err
		}
	}
	return nil
}
