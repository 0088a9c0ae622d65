package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

// completionTimeout limits the requests for a shell completion, because the user waits
// for the result.
const completionTimeout = 3 * time.Second

// completeLeases completes the first argument with the names of the Leases in the
// namespace.
func (p *plugin) completeLeases(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeNames(cmd, prefix, func(ctx context.Context, clientset kubernetes.Interface) ([]string, error) {
		namespace, err := p.namespace()
		if err != nil {
			return nil, err
		}
		leases, err := clientset.CoordinationV1().Leases(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var names []string
		for i := range leases.Items {
			names = append(names, leases.Items[i].Name)
		}
		return names, nil
	})
}

func (p *plugin) completeNamespaces(cmd *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	return p.completeNames(cmd, prefix, func(ctx context.Context, clientset kubernetes.Interface) ([]string, error) {
		namespaces, err := clientset.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		var names []string
		for i := range namespaces.Items {
			names = append(names, namespaces.Items[i].Name)
		}
		return names, nil
	})
}

func (p *plugin) completeContexts(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
	config, err := p.clientConfig().RawConfig()
	if err != nil {
		cobra.CompErrorln(message(err)) // cobra prints to os.Stderr
		return nil, cobra.ShellCompDirectiveError
	}
	return withPrefix(slices.Sorted(maps.Keys(config.Contexts)), prefix), cobra.ShellCompDirectiveNoFileComp
}

func (p *plugin) completeNames(cmd *cobra.Command, prefix string, get func(context.Context, kubernetes.Interface) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	clientset, err := p.clientset()
	var names []string
	if err == nil {
		names, err = get(ctx, clientset)
	}
	if err != nil {
		cobra.CompErrorln(message(err)) // cobra prints to os.Stderr
		return nil, cobra.ShellCompDirectiveError
	}
	return withPrefix(names, prefix), cobra.ShellCompDirectiveNoFileComp
}

func withPrefix(names []string, prefix string) []string {
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.HasPrefix(name, prefix) || strings.ContainsFunc(name, safetext.IsUnsafe)
	})
}
