//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// node is a running node, seen from the machine.
type node struct {
	run     string // the folder with logs and the kubeconfig
	started time.Time
	gone    chan struct{} // closed when the node has ended
	pid     int           // process 1 of the node, as the machine numbers it
	cgroups *cgroups
	kill    func()
	clean   bool // true if the logs are not needed

	config    *rest.Config
	clientset kubernetes.Interface

	settings settings
}

// startNode starts a node and returns when it is Ready. It must be called by the main
// goroutine. The caller must call close.
func startNode(ctx context.Context) (_ *node, err error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("a node needs root for its namespaces and cgroups: run the command as root")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	n := &node{started: time.Now(), gone: make(chan struct{})}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	s := &n.settings
	s.ControlPlane, s.Programs = os.Getenv("KUBEBUILDER_ASSETS"), os.Getenv("NODE_ASSETS")
	if s.ControlPlane == "" || s.Programs == "" {
		return nil, errors.New("KUBEBUILDER_ASSETS or NODE_ASSETS is not set: use make node")
	}
	s.Runtime, err = containerRuntime(ctx, filepath.Join(cache, "incumbent", "node"), func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	})
	if err != nil {
		return nil, err
	}
	if n.run, err = os.MkdirTemp("", "incumbent-node-"); err != nil {
		return nil, err
	}
	s.Run = n.run
	if n.cgroups, err = newCgroups(); err != nil {
		return nil, err
	}
	s.Cgroups = n.cgroups
	if err := n.start(); err != nil {
		return nil, err
	}
	return n, n.awaitReady(ctx)
}

func (n *node) start() error {
	cmd, err := startInit(n.settings)
	if err != nil {
		return err
	}
	n.pid, n.kill = cmd.Process.Pid, func() { _ = cmd.Process.Kill() }
	go func() {
		_ = cmd.Wait() // the reason is in node.log
		close(n.gone)
	}()
	return nil
}

// close ends the node and removes its cgroups. Unless clean is set, the logs stay.
func (n *node) close() {
	if n.kill != nil {
		n.kill()
		<-n.gone
	}
	if n.cgroups != nil {
		n.cgroups.remove()
	}
	if n.clean || n.kill == nil { // without a process, there are no logs
		_ = os.RemoveAll(n.run)
	}
}

// awaitReady waits until the node is Ready and Pods can be created.
func (n *node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the node is not Ready after %v", startTimeout))
	defer cancel()
	for {
		err := n.ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-n.gone:
			text, _ := os.ReadFile(filepath.Join(n.run, "node.log"))
			return fmt.Errorf("the node did not start, see the logs in %s:\n%s", n.run, text)
		default:
		}
		if lab.Sleep(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("%w, see the logs in %s: %w", context.Cause(ctx), n.run, err)
		}
	}
}

func (n *node) ready(ctx context.Context) error {
	if n.config == nil {
		config, err := lab.LoadConfig(filepath.Join(n.run, kubeconfigFile))
		if err != nil {
			return err
		}
		config.QPS, config.Dial = -1, n.dial
		if n.clientset, err = kubernetes.NewForConfig(config); err != nil {
			return err
		}
		n.config = config
	}
	object, err := n.clientset.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !isReady(object) {
		return errors.New("the node has registered and is not Ready")
	}
	// Pods are refused until the namespace has its service account.
	_, err = n.clientset.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
	return err
}

func isReady(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// kubectl returns the path of a script that runs kubectl in the node's network namespace.
func (n *node) kubectl() string {
	path := filepath.Join(n.run, "kubectl")
	text := fmt.Sprintf("#!/bin/sh\nexec nsenter --net=/proc/%d/ns/net env KUBECONFIG=%s %s \"$@\"\n",
		n.pid, filepath.Join(n.run, kubeconfigFile), filepath.Join(n.settings.Programs, "kubectl"))
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		return err.Error()
	}
	return path
}

// dial opens a connection in the node's network namespace.
func (n *node) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.enterNetwork(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// enterNetwork calls f in the node's network namespace. A socket that f creates stays in
// this namespace. f must not start goroutines that create sockets, because only the
// thread of f is in the namespace.
func (n *node) enterNetwork(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so the thread ends with this goroutine
		namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", n.pid))
		if err == nil {
			err = errors.Join(unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET), namespace.Close())
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

func (n *node) namespaceExists(ctx context.Context, name string) bool {
	_, err := n.clientset.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
	return err == nil
}
