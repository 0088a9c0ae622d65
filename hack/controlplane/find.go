package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package envtest expects these names for the two binaries.
const (
	apiserverBinary = "kube-apiserver"
	etcdBinary      = "etcd"
)

// controlPlaneBinaries are the files of a complete control plane.
var controlPlaneBinaries = []string{apiserverBinary, etcdBinary}

// A source is a way to get binaries. Its method fill puts the binaries into an empty
// folder.
type source interface {
	name() string
	fill(ctx context.Context, dir string) error
}

// finder looks for the binaries in several places, in a fixed order.
type finder struct {
	version  version
	binaries []string // the names of the files that the folder must contain
	assets   string   // the value of KUBEBUILDER_ASSETS, possibly empty
	folder   string   // the folder in the user's cache
	sources  []source
	verify   func(ctx context.Context, dir string, v version) error
	log      *progress
}

// find returns a folder that contains all binaries.
func (f *finder) find(ctx context.Context) (string, error) {
	if f.assets != "" {
		err := complete(f.assets, f.binaries)
		if err == nil {
			f.log.printf("using KUBEBUILDER_ASSETS")
			return filepath.Abs(f.assets)
		}
		f.log.printf("ignoring KUBEBUILDER_ASSETS: %v", err)
	}
	if f.cached() {
		return f.folder, nil
	}
	if err := os.MkdirAll(filepath.Dir(f.folder), 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(ctx, f.folder+".lock", f.log)
	if err != nil {
		return "", err
	}
	defer unlock()
	if f.cached() { // another run may have filled the cache while this run waited for the lock
		return f.folder, nil
	}
	return f.folder, f.install(ctx)
}

// cached reports whether the cache contains all binaries. It does not run the binaries,
// because installFrom has verified them before it renamed the folder.
func (f *finder) cached() bool {
	if complete(f.folder, f.binaries) != nil {
		return false
	}
	f.log.printf("Kubernetes %s is in the cache", f.version)
	return true
}

// install tries the sources in order until one source succeeds. The caller must hold the
// lock on the cache.
func (f *finder) install(ctx context.Context) error {
	f.removeLeftovers()
	var failures []error
	for _, s := range f.sources {
		err := f.installFrom(ctx, s)
		if err == nil {
			f.log.printf("Kubernetes %s is ready, from %s", f.version, s.name())
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.log.printf("%s failed: %s", s.name(), firstLine(err))
		failures = append(failures, fmt.Errorf("%s: %w", s.name(), err))
	}
	return errors.Join(failures...)
}

// installFrom fills a temporary folder from the source s and verifies the binaries. Then
// it renames the folder to f.folder.
func (f *finder) installFrom(ctx context.Context, s source) error {
	dir, err := os.MkdirTemp(filepath.Dir(f.folder), filepath.Base(f.folder)+".partial-")
	if err != nil {
		return err
	}
	defer removeAll(dir)
	if err := s.fill(ctx, dir); err != nil {
		return err
	}
	if err := f.verify(ctx, dir, f.version); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	removeAll(f.folder) // remove an incomplete cache folder, because Rename cannot replace a folder
	return os.Rename(dir, f.folder)
}

// removeLeftovers removes the temporary folders of runs that were killed. The caller must
// hold the lock on the cache. The lock ensures that no other run uses these folders.
func (f *finder) removeLeftovers() {
	leftovers, err := filepath.Glob(f.folder + ".partial-*")
	if err != nil {
		return
	}
	for _, dir := range leftovers {
		removeAll(dir)
	}
}

// complete returns an error unless the folder dir contains the binaries and all of them
// are executable.
func complete(dir string, binaries []string) error {
	for _, name := range binaries {
		info, err := os.Stat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s has no %s", dir, name)
		case err != nil:
			return err
		case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
			return fmt.Errorf("%s is not a program", filepath.Join(dir, name))
		}
	}
	return nil
}

// verify runs both binaries with --version. It returns an error unless kube-apiserver
// prints the version v. etcd may print any version.
func verify(ctx context.Context, dir string, v version) error {
	for name, want := range map[string]string{
		apiserverBinary: "Kubernetes " + v.module(),
		etcdBinary:      "etcd Version: ",
	} {
		out, err := exec.CommandContext(ctx, filepath.Join(dir, name), "--version").CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s does not run: %w: %s", name, err, out)
		}
		if !strings.HasPrefix(string(out), want) {
			return fmt.Errorf("%s --version prints %q, want %q", name, out, want)
		}
	}
	return nil
}

// removeAll removes a folder, even if its subfolders are read-only. setup-envtest creates
// such subfolders. removeAll ignores errors, because the next run tries again.
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}

// firstLine returns the first line of the error's text, for the progress output.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
