package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // a user's kubeconfig may need any of them
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// cluster is where the replicas run: a control plane of our own, or the user's.
type cluster struct {
	kubeconfig string // a path, or a list of them as in $KUBECONFIG
	namespace  string
	clientset  kubernetes.Interface
	own        *envtest.ControlPlane // nil on the user's cluster
	cleanups   []func() error
}

// openCluster prepares a namespace with an empty ledger. Close cleans up also
// when it fails.
func openCluster(ctx context.Context, kubeconfig string) (*cluster, error) {
	c := &cluster{kubeconfig: kubeconfig, namespace: "incumbent-demo-" + strings.ToLower(rand.Text()[:6])}
	if kubeconfig == "" {
		if err := c.startOwn(); err != nil {
			return c, err
		}
	}
	config, err := loadConfig(c.kubeconfig)
	if err != nil {
		return c, err
	}
	if c.clientset, err = kubernetes.NewForConfig(config); err != nil {
		return c, err
	}
	if err := c.createNamespace(ctx); err != nil {
		return c, err
	}
	if err := c.ledger().create(ctx); err != nil {
		return c, fmt.Errorf("creating the ledger: %w", err)
	}
	if c.own != nil {
		if err := c.fenceOff(ctx); err != nil {
			return c, fmt.Errorf("fencing off the ledger: %w", err)
		}
	}
	return c, nil
}

func (c *cluster) ledger() ledger {
	return ledger{c.clientset.CoreV1().ConfigMaps(c.namespace)}
}

func (c *cluster) startOwn() error {
	own, err := envtest.Start(envtest.Options{APIServerFlags: []string{
		// Without it an API server that is asked to stop waits a minute for its watches.
		"--shutdown-watch-termination-grace-period=2s",
	}})
	if err != nil {
		return err
	}
	c.own = own
	c.cleanups = append(c.cleanups, own.Stop)
	dir, err := os.MkdirTemp("", "incumbent-demo-")
	if err != nil {
		return err
	}
	c.cleanups = append(c.cleanups, func() error { return os.RemoveAll(dir) })
	text, err := own.Admin().Kubeconfig()
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(dir, "kubeconfig")
	return os.WriteFile(c.kubeconfig, text, 0o600)
}

func (c *cluster) createNamespace(ctx context.Context) error {
	_, err := c.clientset.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace}}, metav1.CreateOptions{})
	refused := errors.As(err, new(apierrors.APIStatus))
	if c.own == nil && !refused { // if the answer was lost it may be there
		c.cleanups = append(c.cleanups, c.deleteNamespace)
	}
	if err != nil {
		return fmt.Errorf("creating the namespace %s: %w", c.namespace, err)
	}
	return nil
}

// deleteNamespace has a time of its own, for it runs after a ^C as well.
func (c *cluster) deleteNamespace() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.clientset.CoreV1().Namespaces().Delete(ctx, c.namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("please delete the namespace %s yourself: %w", c.namespace, err)
	}
	return nil
}

func (c *cluster) close() error {
	var errs []error
	for i := len(c.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, c.cleanups[i]())
	}
	c.cleanups = nil
	return errors.Join(errs...)
}

// loadConfig reads a kubeconfig, or several as $KUBECONFIG lists them.
func loadConfig(kubeconfig string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(kubeconfig)}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}
