package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// A Cluster is where replicas run: a control plane of its own, or the user's cluster.
type Cluster struct {
	// Plane is the control plane; nil on the user's cluster.
	Plane *envtest.ControlPlane
	// Kubeconfig is the path of a kubeconfig of an administrator, or a list of paths
	// as in $KUBECONFIG.
	Kubeconfig string
	// Namespace is a namespace that was created for this run.
	Namespace string
	// Config is the configuration of Clientset.
	Config *rest.Config
	// Clientset has the rights of Kubeconfig.
	Clientset kubernetes.Interface

	dir      string // of kubeconfig files
	cleanups []func() error
}

// OpenCluster opens the user's cluster if there is a kubeconfig, or starts a control
// plane, and creates the namespace. Call Close also when it fails.
func OpenCluster(ctx context.Context, kubeconfig, namespace string, options envtest.Options) (*Cluster, error) {
	c := &Cluster{Kubeconfig: kubeconfig, Namespace: namespace}
	if kubeconfig == "" {
		if err := c.startPlane(options); err != nil {
			return c, err
		}
	}
	var err error
	if c.Config, err = LoadConfig(c.Kubeconfig); err != nil {
		return c, err
	}
	if c.Clientset, err = kubernetes.NewForConfig(c.Config); err != nil {
		return c, err
	}
	_, err = c.Clientset.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	refused := errors.As(err, new(apierrors.APIStatus))
	if c.Plane == nil && !refused { // the namespace may exist even if the reply was lost
		c.Cleanup(c.deleteNamespace)
	}
	if err != nil {
		return c, fmt.Errorf("creating the namespace %s: %w", namespace, err)
	}
	return c, nil
}

func (c *Cluster) startPlane(options envtest.Options) (err error) {
	if c.Plane, err = envtest.Start(options); err != nil {
		return err
	}
	c.Cleanup(c.Plane.Stop)
	if c.dir, err = os.MkdirTemp("", "incumbent-lab-"); err != nil {
		return err
	}
	c.Cleanup(func() error { return os.RemoveAll(c.dir) })
	c.Kubeconfig, err = c.WriteKubeconfig(c.Plane.Admin(), "admin", "")
	return err
}

// WriteKubeconfig writes the kubeconfig of a client of the control plane into a file
// and returns its path. If address is not empty, it replaces the API server's.
func (c *Cluster) WriteKubeconfig(client *envtest.Client, name, address string) (string, error) {
	text, err := client.Kubeconfig()
	if err != nil {
		return "", err
	}
	config, err := clientcmd.Load(text)
	if err != nil {
		return "", err
	}
	for _, cluster := range config.Clusters {
		if address != "" {
			cluster.Server = "https://" + address
		}
	}
	file := filepath.Join(c.dir, name)
	return file, clientcmd.WriteToFile(*config, file)
}

// deleteNamespace has a timeout of its own because it also runs after an interrupt.
func (c *Cluster) deleteNamespace() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.Clientset.CoreV1().Namespaces().Delete(ctx, c.Namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("please delete the namespace %s yourself: %w", c.Namespace, err)
	}
	return nil
}

// Cleanup has Close call f, before all functions that were added earlier.
func (c *Cluster) Cleanup(f func() error) { c.cleanups = append(c.cleanups, f) }

// Close stops or deletes everything that was created.
func (c *Cluster) Close() error {
	var errs []error
	for i := len(c.cleanups) - 1; i >= 0; i-- {
		errs = append(errs, c.cleanups[i]())
	}
	c.cleanups = nil
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrCleanup, err)
	}
	return nil
}

// LoadConfig reads a kubeconfig, or several in the form of $KUBECONFIG.
func LoadConfig(kubeconfig string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(kubeconfig)}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// AsPod returns a configuration that acts as a pod of a service account, with all
// rights: only a Fence refuses its writes.
func AsPod(config *rest.Config, namespace, serviceAccount, pod string) *rest.Config {
	config = envtest.ServiceAccount{Namespace: namespace, Name: serviceAccount}.Pod(config, pod)
	config.Impersonate.Groups = append(config.Impersonate.Groups, "system:masters")
	return config
}
