package envtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Options configures [Start]. The zero value starts one API server and one
// etcd.
type Options struct {
	// APIServers is the number of API servers. All of them use the same etcd.
	// Each API server uses about 300 MB of memory. Default: 1.
	APIServers int
	// APIServerFlags are additional flags for each API server. These flags
	// override the flags that Start sets.
	APIServerFlags []string
	// StartTimeout is the maximum time for each process to become ready. If a
	// process takes longer, Start fails. Default: 60 s.
	StartTimeout time.Duration

	assets string // the folder with the binaries
}

func (o Options) withDefaults() (Options, error) {
	if o.APIServers < 0 {
		return o, fmt.Errorf("envtest: APIServers (%d) must not be negative", o.APIServers)
	}
	if o.StartTimeout < 0 {
		return o, fmt.Errorf("envtest: StartTimeout (%v) must not be negative", o.StartTimeout)
	}
	if o.APIServers == 0 {
		o.APIServers = 1
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = time.Minute
	}
	var err error
	o.assets, err = AssetsDir()
	return o, err
}

// ControlPlane is one etcd and its API servers. The methods may be called from
// any goroutine.
type ControlPlane struct {
	dir     string
	pki     *pki
	etcd    *Server
	servers []*Server
	admin   *Client

	mu      sync.Mutex
	clients []*Client
	backups int
	stopped bool
}

// Start starts a control plane. Start returns when all API servers are ready
// and the namespace "default" exists. If Start succeeds, the caller must call
// Stop.
func Start(options Options) (*ControlPlane, error) {
	options, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "incumbent-envtest-")
	if err != nil {
		return nil, fmt.Errorf("envtest: %w", err)
	}
	cp, err := newControlPlane(dir, options)
	if err == nil {
		err = cp.start(options.StartTimeout)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("envtest: %w", err), cp.Stop(), os.RemoveAll(dir))
	}
	return cp, nil
}

func newControlPlane(dir string, options Options) (*ControlPlane, error) {
	host := ownHost()
	ports, err := freePorts(host, 2+options.APIServers)
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{dir: dir}
	if cp.pki, err = newPKI(dir, host); err != nil {
		return nil, err
	}
	cp.etcd = newEtcd(filepath.Join(dir, "etcd"), host, ports[0], ports[1], options)
	for i, port := range ports[2:] {
		cp.servers = append(cp.servers, newAPIServer(i, dir, host, port, cp.etcd.URL(), options))
	}
	cp.admin = cp.Client("admin")
	for _, server := range cp.servers {
		server.process.ready = server.readiness(cp.pki)
	}
	return cp, nil
}

func (cp *ControlPlane) start(timeout time.Duration) error {
	if err := cp.etcd.Start(); err != nil {
		return err
	}
	if err := startAll(cp.servers); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return poll(ctx, func(ctx context.Context) error {
		_, err := cp.admin.Clientset().CoreV1().Namespaces().Get(ctx, metav1.NamespaceDefault, metav1.GetOptions{})
		return err
	})
}

// startAll starts the servers in parallel to save time.
func startAll(servers []*Server) error {
	failures := make(chan error)
	for _, server := range servers {
		go func() { failures <- server.Start() }()
	}
	var err error
	for range servers {
		err = errors.Join(err, <-failures)
	}
	return err
}

// APIServer returns the API server with the number i. The first API server has
// the number 0.
func (cp *ControlPlane) APIServer(i int) *Server { return cp.servers[i] }

// APIServers returns the number of all API servers, including those that are
// not running.
func (cp *ControlPlane) APIServers() int { return len(cp.servers) }

// Etcd returns the server that runs etcd.
func (cp *ControlPlane) Etcd() *Server { return cp.etcd }

// Admin returns a client of API server 0 that has all rights. Do not inject
// faults into the network of this client, because all tests share the client.
func (cp *ControlPlane) Admin() *Client { return cp.admin }

// Stop closes all clients, kills all processes and deletes all data. Further
// calls have no effect.
func (cp *ControlPlane) Stop() error {
	if cp == nil {
		return nil
	}
	cp.mu.Lock()
	stopped, clients := cp.stopped, cp.clients
	cp.stopped, cp.clients = true, nil
	cp.mu.Unlock()
	if stopped {
		return nil
	}
	for _, client := range clients {
		client.Close()
	}
	var failures []error
	for _, server := range cp.servers {
		failures = append(failures, server.Kill())
	}
	failures = append(failures, cp.etcd.Kill(), os.RemoveAll(cp.dir))
	return errors.Join(failures...)
}

// poll calls f until f succeeds or ctx is done. If ctx is done first, poll
// returns the error of the last call that ended before ctx was done.
func poll(ctx context.Context, f func(context.Context) error) error {
	var before error
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil && before != nil {
			err = before // the current error only reports that ctx is done
		}
		before = err
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func name(prefix string, i int) string { return prefix + "-" + strconv.Itoa(i) }
