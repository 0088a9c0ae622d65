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

// APIServer is one kube-apiserver. Its address, certificates and keys stay the
// same when it is started again, so that clients go on working.
type APIServer struct {
	url     string
	process *process
}

func newAPIServer(i int, dir, host, port, etcdURL string, options Options) *APIServer {
	url := "https://" + net.JoinHostPort(host, port)
	in := func(name string) string { return filepath.Join(dir, name) }
	return &APIServer{url: url, process: &process{
		name:         name("kube-apiserver", i),
		path:         filepath.Join(options.Assets, "kube-apiserver"),
		output:       options.Output,
		startTimeout: options.StartTimeout,
		stopTimeout:  options.StopTimeout,
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
			// The controller that makes each namespace's default service account
			// is not running, and without one no pod would be admitted.
			"--disable-admission-plugins=ServiceAccount",
			// An endpoint on loopback would be refused, over and over.
			"--endpoint-reconciler-type=none",
			"--shutdown-delay-duration=0s",
			// Without these two, watches are not ended, or opened anew meanwhile, and
			// the server waits a minute for its clients to end them.
			"--shutdown-watch-termination-grace-period=1s",
			"--shutdown-send-retry-after=true",
			"--profiling=false",
		}, options.APIServerFlags...),
	}}
}

// URL is where the API server listens.
func (s *APIServer) URL() string { return s.url }

// Start starts the API server if it is not running, and returns when it is ready.
func (s *APIServer) Start() error { return s.process.start() }

// Stop stops the API server as a rolling update of the control plane does, and
// returns when it has exited: it ends the watches and answers what it has
// accepted. Stopping one that is not running does nothing.
func (s *APIServer) Stop() error { return s.process.stop() }

// Kill ends the API server at once: connections break, requests in flight get no
// answer.
func (s *APIServer) Kill() error { return s.process.kill() }

// Running says whether the process is there.
func (s *APIServer) Running() bool { return s.process.isRunning() }

// awaitReady waits until the API server is ready, if it runs.
func (s *APIServer) awaitReady() error {
	if !s.Running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.process.startTimeout)
	defer cancel()
	return poll(ctx, s.process.ready)
}

// readiness asks /readyz over a new connection each time: one that was opened
// before a restart might go to nobody.
func (s *APIServer) readiness(pki *pki) func(context.Context) error {
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
