package envtest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
)

// Server is the etcd or one kube-apiserver of a [ControlPlane]. A restart does
// not change the address, the certificates or the data of a Server. Therefore
// clients continue to work.
type Server struct {
	url     string
	dataDir string // the data folder of etcd; empty for API servers
	process *process
}

// URL returns the URL at which the server listens.
func (s *Server) URL() string { return s.url }

// Start starts the server and returns when the server is ready. If the server
// is already running, Start has no effect.
func (s *Server) Start() error { return s.process.start() }

// Stop stops the server gracefully and returns when the server has exited. If
// the server is not running, Stop has no effect.
//
// An API server ends its watches and answers the requests that it has accepted,
// as in a rolling update of the control plane. If etcd is stopped, the API
// servers continue to run. Until a few seconds after the next start of etcd,
// the API servers answer with errors.
func (s *Server) Stop() error { return s.process.stop() }

// Kill kills the server. Connections break, and requests in progress get no
// reply. etcd keeps every write that it has acknowledged.
func (s *Server) Kill() error { return s.process.kill() }

// Running reports whether the process of the server is running.
func (s *Server) Running() bool { return s.process.isRunning() }

func newAPIServer(i int, dir, host, port, etcdURL string, options Options) *Server {
	url := "https://" + net.JoinHostPort(host, port)
	in := func(name string) string { return filepath.Join(dir, name) }
	return &Server{url: url, process: &process{
		name:         name("kube-apiserver", i),
		path:         filepath.Join(options.assets, "kube-apiserver"),
		startTimeout: options.StartTimeout,
		args: append([]string{
			"--etcd-servers=" + etcdURL,
			"--bind-address=" + host,
			"--advertise-address=" + host,
			"--secure-port=" + port,
			"--cert-dir=" + dir,
			"--tls-cert-file=" + in(servingCertFile),
			"--tls-private-key-file=" + in(servingKeyFile),
			"--client-ca-file=" + in(caFile),
			"--authorization-mode=RBAC",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-key-file=" + in(serviceAccountKeyFile),
			"--service-account-signing-key-file=" + in(serviceAccountKeyFile),
			"--service-cluster-ip-range=10.0.0.0/24",
			"--allow-privileged=true",
			// The ServiceAccount plugin would reject every pod, because no
			// controller creates the default service account of a namespace.
			"--disable-admission-plugins=ServiceAccount",
			// The endpoint reconciler would always fail, because it publishes
			// the address of the API server as an endpoint. An endpoint must
			// not have a loopback address.
			"--endpoint-reconciler-type=none",
			"--shutdown-delay-duration=0s",
			// Without the next two flags, the server would wait a minute for
			// open watches when it is stopped.
			"--shutdown-watch-termination-grace-period=1s",
			"--shutdown-send-retry-after=true",
			"--profiling=false",
		}, options.APIServerFlags...),
	}}
}

func newEtcd(dataDir, host, clientPort, peerPort string, options Options) *Server {
	url := "http://" + net.JoinHostPort(host, clientPort)
	peer := "http://" + net.JoinHostPort(host, peerPort)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return &Server{url: url, dataDir: dataDir, process: &process{
		name:         "etcd",
		path:         filepath.Join(options.assets, "etcd"),
		startTimeout: options.StartTimeout,
		ready: func(ctx context.Context) error {
			return askHealth(ctx, client, url+"/health")
		},
		args: []string{
			"--data-dir=" + dataDir,
			"--listen-client-urls=" + url,
			"--advertise-client-urls=" + url,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=default=" + peer,
			// A short election timeout is sufficient, because this etcd has
			// only one member.
			"--heartbeat-interval=20",
			"--election-timeout=100",
			"--unsafe-no-fsync",
			"--log-level=warn",
		},
	}}
}

// awaitReady waits until the server is ready. If the server is not running,
// awaitReady returns at once.
func (s *Server) awaitReady() error {
	if !s.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.process.startTimeout)
	defer cancel()
	return poll(ctx, s.process.ready)
}

// readiness returns a function that checks /readyz. Each check uses a new
// connection, because a connection that was opened before a restart may be
// dead.
func (s *Server) readiness(pki *pki) func(context.Context) error {
	roots := x509.NewCertPool()
	roots.AddCert(pki.ca)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: true,
	}}
	return func(ctx context.Context) error {
		return askHealth(ctx, client, s.url+"/readyz?verbose")
	}
}

func askHealth(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	reply, err := client.Do(request)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		return err
	}
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", url, reply.Status, body)
	}
	return reply.Body.Close()
}
