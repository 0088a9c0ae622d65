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
	_ "k8s.io/client-go/plugin/pkg/client/auth" // registers the authentication plugins that a user's kubeconfig may need
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// A Cluster is the Kubernetes cluster in which the replicas campaign. It is either a
// control plane that OpenCluster started, or an existing cluster of the user.
type Cluster struct {
	// Plane is the control plane that OpenCluster started. It is nil if the replicas
	// use an existing cluster.
	Plane *envtest.ControlPlane
	// Kubeconfig is the path of a kubeconfig file, or a list of paths in the format of
	// $KUBECONFIG. The kubeconfig must contain the credentials of an administrator.
	Kubeconfig string
	// Namespace is the name of the namespace that OpenCluster created.
	Namespace string
	// Config is the REST configuration that OpenCluster read from Kubeconfig.
	Config *rest.Config
	// Clientset is a clientset that uses Config.
	Clientset kubernetes.Interface

	dir      string // the folder into which WriteKubeconfig writes files
	cleanups []func() error
}

// OpenCluster connects to the cluster of the kubeconfig and creates the namespace. If
// the parameter kubeconfig is empty, OpenCluster starts a control plane with the given
// options. The caller must close the Cluster, even if OpenCluster returns an error.
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
	if c.Plane == nil && !refused { // without a reply, the namespace may nevertheless exist
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

// WriteKubeconfig writes a kubeconfig for the client into a new file and returns the
// path of the file. name is the name of the file. If the parameter
// address is not empty, it replaces the address of the API server.
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

// deleteNamespace deletes the namespace. It uses a new context, because the program's
// context may be cancelled.
func (c *Cluster) deleteNamespace() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.Clientset.CoreV1().Namespaces().Delete(ctx, c.Namespace, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("please delete the namespace %s yourself: %w", c.Namespace, err)
	}
	return nil
}

// Cleanup registers f. Close calls the registered functions in reverse
// order.
func (c *Cluster) Cleanup(f func() error) { c.cleanups = append(c.cleanups, f) }

// Close stops the control plane that OpenCluster started, or deletes the namespace in
// the existing cluster. It also calls the functions that were registered with Cleanup.
// The returned error wraps ErrCleanup.
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

// LoadConfig returns the REST configuration from a kubeconfig. The parameter kubeconfig
// is the path of a file, or a list of paths in the format of $KUBECONFIG.
func LoadConfig(kubeconfig string) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(kubeconfig)}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	return config, nil
}

// AsPod returns a copy of config that impersonates a pod of the service account. The
// copy also impersonates the group system:masters, which has all rights. Therefore only
// an admission policy can refuse a request of the pod.
func AsPod(config *rest.Config, namespace, serviceAccount, pod string) *rest.Config {
	config = envtest.ServiceAccount{Namespace: namespace, Name: serviceAccount}.Pod(config, pod)
	config.Impersonate.Groups = append(config.Impersonate.Groups, "system:masters")
	return config
}
