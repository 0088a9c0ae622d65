package envtest

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
)

// Etcd is the one etcd under all API servers. It keeps its address and its data
// when it is started again.
type Etcd struct {
	url     string
	dataDir string
	process *process
}

func newEtcd(dataDir, host, clientPort, peerPort string, options Options) *Etcd {
	url := "http://" + net.JoinHostPort(host, clientPort)
	peer := "http://" + net.JoinHostPort(host, peerPort)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return &Etcd{url: url, dataDir: dataDir, process: &process{
		name:         "etcd",
		path:         filepath.Join(options.Assets, "etcd"),
		output:       options.Output,
		startTimeout: options.StartTimeout,
		stopTimeout:  options.StopTimeout,
		ready: func(ctx context.Context) error {
			return askHealth(ctx, client, url+"/health")
		},
		args: append([]string{
			"--data-dir=" + dataDir,
			"--listen-client-urls=" + url,
			"--advertise-client-urls=" + url,
			"--listen-peer-urls=" + peer,
			"--initial-advertise-peer-urls=" + peer,
			"--initial-cluster=default=" + peer,
			// Nobody to lose an election against, so there is nothing to wait for.
			"--heartbeat-interval=20",
			"--election-timeout=100",
			"--unsafe-no-fsync",
			"--log-level=warn",
		}, options.EtcdFlags...),
	}}
}

// URL is where etcd listens, without TLS.
func (e *Etcd) URL() string { return e.url }

// Start starts etcd if it is not running, and returns when it is healthy.
func (e *Etcd) Start() error { return e.process.start() }

// Stop stops etcd and returns when it has exited, which takes some seconds while
// API servers are connected. They stay up, and answer with errors until a few
// seconds after it was started again. Stopping one that is not running does
// nothing.
func (e *Etcd) Stop() error { return e.process.stop() }

// Kill ends etcd at once. What it has acknowledged is kept.
func (e *Etcd) Kill() error { return e.process.kill() }

// Running says whether the process is there.
func (e *Etcd) Running() bool { return e.process.isRunning() }
