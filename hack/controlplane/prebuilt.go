package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// envtestIndex is the URL of the list of archives that setup-envtest reads.
const envtestIndex = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"

const (
	// probeTimeout limits the delay on a machine that cannot reach the archives.
	probeTimeout = 4 * time.Second
	// downloadTimeout limits the download of an archive of about 60 MB. A build takes
	// about as long, so a longer download would save no time.
	downloadTimeout = 5 * time.Minute
)

// prebuilt downloads a published archive that contains both binaries. It uses
// setup-envtest, which checks the hash of the archive.
type prebuilt struct {
	indexURL string
	version  version
	module   string // the folder of the Go module that pins setup-envtest
	log      *progress
}

func (p *prebuilt) name() string { return "prebuilt archives" }

func (p *prebuilt) fill(ctx context.Context, dir string) error {
	p.log.printf("looking for a prebuilt archive, at most %s", probeTimeout)
	if err := p.probe(ctx); err != nil {
		return err
	}
	p.log.printf("downloading the prebuilt archive with setup-envtest")
	defer p.log.heartbeat(func() string { return "downloading the prebuilt archive" })()
	scratch := filepath.Join(dir, "download")
	path, err := p.download(ctx, scratch)
	if err != nil {
		return err
	}
	// setup-envtest makes its folders read-only. The folder at path must be writable,
	// because the next lines move files out of this folder.
	if err := os.Chmod(path, 0o755); err != nil {
		return err
	}
	for _, name := range []string{apiserverBinary, etcdBinary} {
		if err := os.Rename(filepath.Join(path, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	removeAll(scratch)
	return nil
}

// download runs setup-envtest and returns the path of the folder into which setup-envtest
// has unpacked the archive.
func (p *prebuilt) download(ctx context.Context, scratch string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	var stdout, stderr strings.Builder
	cmd := exec.CommandContext(ctx, "go", "tool", "setup-envtest", "use", p.version.String(),
		"--bin-dir", scratch, "--os", runtime.GOOS, "--arch", runtime.GOARCH, "-p", "path")
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.module, &stdout, &stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("setup-envtest: %w\n%s", err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// probe checks whether the archive exists and can be downloaded, in at most probeTimeout.
// setup-envtest would detect a missing archive more slowly, because it must be compiled
// first and has no timeout.
func (p *prebuilt) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	index, err := p.request(ctx, http.MethodGet, p.indexURL)
	if err != nil {
		return err
	}
	archive := fmt.Sprintf("envtest-v%s-%s-%s.tar.gz", p.version, runtime.GOOS, runtime.GOARCH)
	link := regexp.MustCompile(`selfLink:\s*(\S+/` + regexp.QuoteMeta(archive) + `)\s`).FindStringSubmatch(index + "\n")
	if link == nil {
		return fmt.Errorf("%s was not published", archive)
	}
	_, err = p.request(ctx, http.MethodHead, link[1])
	return err
}

func (p *prebuilt) request(ctx context.Context, method, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(body), nil
}
