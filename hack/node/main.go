//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// The main goroutine keeps the main thread, because the kernel ends the node when the
// thread ends that started the node.
func init() { runtime.LockOSThread() }

func main() {
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	switch command {
	case initCommand:
		exit(runInit(os.Args[2]))
	case superviseCommand:
		exit(supervise(os.Args[2]))
	case "pause":
		pause()
	case "operator":
		exit(runOperator(os.Args[2:]))
	case "test":
		os.Exit(lab.Run("node test", func(ctx context.Context) (bool, error) { return testNode(ctx, os.Args[2:]) }))
	case "":
		os.Exit(lab.Run("node", keepNode))
	}
	fmt.Fprintf(os.Stderr, "node: command %q is unknown: give none, or test\n", command)
	os.Exit(lab.ExitNotRun)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// pause holds the namespaces of a Pod until it receives a signal.
func pause() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
	os.Exit(0)
}

// keepNode starts a node and keeps it until ctx is done.
func keepNode(ctx context.Context) (bool, error) {
	n, err := startNode(ctx)
	if err != nil {
		return false, err
	}
	defer n.close()
	fmt.Printf("The node is Ready after %v.\n\n  %s get pods -A\n\nLogs are in %s. Ctrl-C or kill %d ends the node.\n",
		time.Since(n.started).Round(100*time.Millisecond), n.kubectl(), n.run, os.Getpid())
	select {
	case <-ctx.Done():
		n.clean = true
		return true, nil
	case <-n.gone:
		return false, errors.New("the node ended by itself, see node.log in " + n.run)
	}
}
