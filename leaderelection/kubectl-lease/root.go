package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// The exit codes of all commands.
const (
	exitLeads   = 0 // explain: a holder leads; other commands: success
	exitNobody  = 1 // explain: nobody leads
	exitRefused = 1 // adopt: the operator was not changed
	exitUnknown = 2 // explain: it is not known whether the holder leads; all commands: an error
)

// A plugin holds the state of one run of the plugin.
type plugin struct {
	out, errOut io.Writer
	rules       *clientcmd.ClientConfigLoadingRules
	overrides   *clientcmd.ConfigOverrides
	code        int // the exit code; if there is an error, 0 means exitUnknown
}

// run runs the command and returns its exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	p := &plugin{out: &terminal{out: out}, errOut: &terminal{out: errOut}, rules: clientcmd.NewDefaultClientConfigLoadingRules(), overrides: &clientcmd.ConfigOverrides{}}
	root := p.rootCommand()
	root.SetArgs(args)
	if err := root.ExecuteContext(ctx); err != nil {
		_, _ = fmt.Fprintln(p.errOut, "error:", message(err))
		if p.code != 0 {
			return p.code
		}
		return exitUnknown
	}
	return p.code
}

func (p *plugin) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kubectl-lease",
		Short: "Explain the Leases of leader elections, and print manifests for them",
		Long: `Explain the Leases of leader elections, and print manifests for them.

explain works with the Leases of every elector: package leaderelection, client-go
and controller-runtime. No command changes the cluster.

Exit codes: 0 is success, 1 means that nobody leads (explain) or that the operator was
not changed (adopt), 2 is an error.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl lease"},
		SilenceErrors: true, // run prints the error
		SilenceUsage:  true,
	}
	root.SetOut(p.out)
	root.SetErr(p.errOut)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; '%s --help' lists the flags", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&p.rules.ExplicitPath, "kubeconfig", "", "path to the kubeconfig file; default: KUBECONFIG, or ~/.kube/config")
	clientcmd.BindOverrideFlags(p.overrides, flags, clientcmd.RecommendedConfigOverrideFlags(""))
	for flag, complete := range map[string]cobra.CompletionFunc{"namespace": p.completeNamespaces, "context": p.completeContexts} {
		if err := root.RegisterFlagCompletionFunc(flag, complete); err != nil {
			panic("bug: " + err.Error())
		}
	}
	root.AddCommand(p.explainCommand(), p.fenceCommand(), p.rightsCommand(), p.manifestsCommand(), p.adoptCommand())
	return root
}

func (p *plugin) clientConfig() clientcmd.ClientConfig {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(p.rules, p.overrides)
}

// restConfig returns the configuration of a client for the cluster that the flags and
// the kubeconfig select.
func (p *plugin) restConfig() (*rest.Config, error) {
	config, err := p.clientConfig().ClientConfig()
	if err != nil {
		return nil, p.configError(err)
	}
	config.WarningHandler = rest.NewWarningWriter(p.errOut, rest.WarningWriterOptions{Deduplicate: true})
	return config, nil
}

// configError returns an error that describes a problem of the kubeconfig, and the
// remedy. err is the error that client-go returned.
func (p *plugin) configError(err error) error {
	context := p.overrides.CurrentContext
	if raw, rawErr := p.clientConfig().RawConfig(); rawErr == nil && context != "" && raw.Contexts[context] == nil {
		return fmt.Errorf("--context (%q) does not exist: 'kubectl config get-contexts' lists the contexts", context)
	}
	switch {
	case clientcmd.IsEmptyConfig(err):
		return errors.New("no cluster is configured: name a kubeconfig file with --kubeconfig or KUBECONFIG")
	case p.rules.ExplicitPath != "":
		return fmt.Errorf("--kubeconfig (%q): %w", p.rules.ExplicitPath, err)
	default:
		return fmt.Errorf("default kubeconfig (KUBECONFIG or ~/.kube/config): %w", err)
	}
}

func (p *plugin) clientset() (kubernetes.Interface, error) {
	config, err := p.restConfig()
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

// namespace returns the value of --namespace. Without that flag it returns the
// namespace of the kubeconfig's context, or "default".
func (p *plugin) namespace() (string, error) {
	namespace, _, err := p.clientConfig().Namespace()
	switch {
	case clientcmd.IsEmptyConfig(err) && p.overrides.CurrentContext == "":
		return metav1.NamespaceDefault, nil
	case err != nil:
		return "", p.configError(err)
	}
	return namespace, nil
}

// addOutputFlag adds the flag --output and the shell completion of its values. The
// first value in formats is the default.
func addOutputFlag(cmd *cobra.Command, format *string, formats ...string) {
	cmd.Flags().StringVarP(format, "output", "o", formats[0], "output `format`: "+list(formats))
	if err := cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("bug: " + err.Error())
	}
}

func checkOutput(format string, formats ...string) error {
	if !slices.Contains(formats, format) {
		return fmt.Errorf("--output (%q) must be %s", format, list(formats))
	}
	return nil
}

// list joins words as "a, b or c".
func list(words []string) string {
	text := ""
	for i, word := range words {
		switch {
		case i == 0:
		case i == len(words)-1:
			text += " or "
		default:
			text += ", "
		}
		text += word
	}
	return text
}
