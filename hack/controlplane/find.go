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

// The two binaries, by the names that envtest looks for.
const (
	apiserverBinary = "kube-apiserver"
	etcdBinary      = "etcd"
)

// A source can fill an empty folder with both binaries.
type source interface {
	name() string
	fill(ctx context.Context, dir string) error
}

// finder knows where the binaries may be, in the order in which to look.
type finder struct {
	version version
	assets  string // KUBEBUILDER_ASSETS, may be empty
	folder  string // the place in the cache
	sources []source
	verify  func(ctx context.Context, dir string, v version) error
	log     *progress
}

// find returns a folder that holds both binaries.
func (f *finder) find(ctx context.Context) (string, error) {
	if f.assets != "" {
		err := complete(f.assets)
		if err == nil {
			f.log.say("using KUBEBUILDER_ASSETS")
			return filepath.Abs(f.assets)
		}
		f.log.say("KUBEBUILDER_ASSETS is passed over: %v", err)
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
	if f.cached() { // by the run that held the lock before
		return f.folder, nil
	}
	return f.folder, f.install(ctx)
}

// cached reports whether the cache has both binaries. Folders get their name
// there by a rename, after they were verified, so it need not run them.
func (f *finder) cached() bool {
	if complete(f.folder) != nil {
		return false
	}
	f.log.say("Kubernetes %s is in the cache", f.version)
	return true
}

// install asks each source in turn; it must hold the lock.
func (f *finder) install(ctx context.Context) error {
	f.removeLeftovers()
	var failures []error
	for _, s := range f.sources {
		err := f.installFrom(ctx, s)
		if err == nil {
			f.log.say("Kubernetes %s is ready, from %s", f.version, s.name())
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		f.log.say("nothing from %s: %s", s.name(), firstLine(err))
		failures = append(failures, fmt.Errorf("%s: %w", s.name(), err))
	}
	return errors.Join(failures...)
}

// installFrom fills a folder beside the final one, and only what runs and says
// the right version gets the final name.
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
	removeAll(f.folder) // incomplete, or it would have been used
	return os.Rename(dir, f.folder)
}

// removeLeftovers clears away what a killed run could not. Whoever holds the
// lock is alone, so every partial folder of this version is a leftover.
func (f *finder) removeLeftovers() {
	leftovers, err := filepath.Glob(f.folder + ".partial-*")
	if err != nil {
		return
	}
	for _, dir := range leftovers {
		removeAll(dir)
	}
}

// complete reports what keeps the folder from being used.
func complete(dir string) error {
	for _, name := range []string{apiserverBinary, etcdBinary} {
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

// verify runs both binaries and compares what they say they are.
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
			return fmt.Errorf("%s --version says %q, want %q", name, out, want)
		}
	}
	return nil
}

// removeAll also removes folders that are read-only, as setup-envtest's are.
// What it cannot remove is no reason to fail, the next run tries again.
func removeAll(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
	_ = os.RemoveAll(dir)
}

// firstLine keeps a line of progress one line.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
