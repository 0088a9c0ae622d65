// Command kubectl-lease is a kubectl plugin for the Leases of leader elections:
//
//	go install github.com/haproxy-template-ic/incumbent/leaderelection/kubectl-lease@latest
//
//	kubectl lease explain -n kube-system kube-scheduler
//	kubectl lease explain -n my-namespace -w my-app-leader
//	kubectl lease rights -n my-namespace my-app-leader --service-account my-app --events | kubectl apply -f -
//	kubectl lease fence -n my-namespace my-app-leader --service-account my-app --resources configmaps | kubectl apply -f -
//	kubectl lease manifests -n my-namespace --app my-app
//	kubectl lease adopt . --write
//
// The command explain reports about the Leases of every elector. It needs the right to
// get the Lease. With the right to watch the Lease, it misses no change. The other
// commands send no request. The command adopt changes the source of an operator that
// kubebuilder has scaffolded, if --write is set; the others print manifests. No command
// changes the cluster.
//
// Texts from the cluster cannot control the terminal: the command escapes characters
// without a visible form. The values in JSON and YAML remain the same.
//
// # Exit codes
//
//	0  success; explain: a holder leads, or explain --watch was interrupted
//	1  explain: nobody leads; adopt: the operator was not changed
//	2  an error; explain: it is not known whether the holder leads
//
// # Completion
//
// A shell can complete the names of Leases, namespaces and contexts. For "kubectl
// lease", put an executable file with the name kubectl_complete-lease and this content
// on the PATH:
//
//	#!/bin/sh
//	exec kubectl-lease __complete "$@"
//
// For "kubectl-lease", use the script that "kubectl-lease completion" prints.
package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
)

func main() {
	klog.SetSlogLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))) // unlike klog, the TextHandler escapes control characters
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
}
