package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A fakeSource is a source for tests. Its method fill calls the function in the field do.
type fakeSource struct {
	title string
	calls atomic.Int32
	do    func(ctx context.Context, dir string) error
}

func (s *fakeSource) name() string { return s.title }

func (s *fakeSource) fill(ctx context.Context, dir string) error {
	s.calls.Add(1)
	return s.do(ctx, dir)
}

func works(title string) *fakeSource {
	return &fakeSource{title: title, do: func(_ context.Context, dir string) error {
		return writeBinaries(dir, title)
	}}
}

func fails(title string) *fakeSource {
	return &fakeSource{title: title, do: func(_ context.Context, dir string) error {
		return errors.Join(writeBinaries(dir, "half"), errors.New(title+" is unreachable\nwith details"))
	}}
}

func writeBinaries(dir, content string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, apiserverBinary), []byte(content), 0o755),
		os.WriteFile(filepath.Join(dir, etcdBinary), []byte(content), 0o755),
	)
}

func newFinder(t *testing.T, sources ...source) (*finder, *bytes.Buffer) {
	t.Helper()
	v, err := parseVersion("")
	if err != nil {
		t.Fatal(err)
	}
	out := &bytes.Buffer{}
	return &finder{
		version:  v,
		binaries: controlPlaneBinaries,
		folder:   filepath.Join(t.TempDir(), "cache", v.String()),
		sources:  sources,
		verify:   func(context.Context, string, version) error { return nil },
		log:      &progress{out: out, every: time.Hour},
	}, out
}

// wantOnly fails the test unless the folder contains exactly the files with these names.
func wantOnly(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !slices.Equal(got, names) {
		t.Errorf("%s contains %q, want %q", dir, got, names)
	}
}

func TestFind_UsesCompleteAssetsFirst(t *testing.T) {
	f, _ := newFinder(t, fails("network"))
	f.assets = t.TempDir()
	if err := writeBinaries(f.assets, "mine"); err != nil {
		t.Fatal(err)
	}
	got, err := f.find(t.Context())
	if err != nil || got != f.assets {
		t.Errorf("find() = %q, %v, want %q", got, err, f.assets)
	}
}

func TestFind_IgnoresIncompleteAssetsAndReportsThat(t *testing.T) {
	f, out := newFinder(t, works("a build"))
	f.assets = t.TempDir()
	if err := os.WriteFile(filepath.Join(f.assets, apiserverBinary), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := f.find(t.Context())
	if err != nil || got != f.folder {
		t.Errorf("find() = %q, %v, want %q", got, err, f.folder)
	}
	if !strings.Contains(out.String(), "has no etcd") {
		t.Errorf("the output does not report the missing etcd: %s", out)
	}
}

func TestFind_IgnoresAssetsThatAreNotExecutable(t *testing.T) {
	f, _ := newFinder(t, works("a build"))
	f.assets = t.TempDir()
	if err := writeBinaries(f.assets, "x"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(f.assets, etcdBinary), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := f.find(t.Context()); err != nil || got != f.folder {
		t.Errorf("find() = %q, %v, want %q", got, err, f.folder)
	}
}

func TestFind_TriesTheNextSourceWhenOneFails(t *testing.T) {
	f, out := newFinder(t, fails("network"), works("a build"))
	if _, err := f.find(t.Context()); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(f.folder, etcdBinary))
	if err != nil || string(content) != "a build" {
		t.Errorf("etcd is %q, %v, want it from the second source", content, err)
	}
	if !strings.Contains(out.String(), "network is unreachable") || strings.Contains(out.String(), "details") {
		t.Errorf("the output has not one line about the failure of the first source: %s", out)
	}
	wantOnly(t, filepath.Dir(f.folder), f.version.String(), f.version.String()+".lock")
}

func TestFind_ReturnsAllErrorsWhenEverySourceFails(t *testing.T) {
	f, _ := newFinder(t, fails("network"), fails("compiler"))
	_, err := f.find(t.Context())
	if err == nil || !strings.Contains(err.Error(), "network") || !strings.Contains(err.Error(), "with details") || !strings.Contains(err.Error(), "compiler") {
		t.Errorf("err = %v, want both failures in full", err)
	}
	wantOnly(t, filepath.Dir(f.folder), f.version.String()+".lock")
}

func TestFind_CacheIsUsedTheSecondTime(t *testing.T) {
	s := works("a build")
	f, _ := newFinder(t, s)
	for range 2 {
		if _, err := f.find(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.calls.Load(); n != 1 {
		t.Errorf("built %d times, want once", n)
	}
}

func TestFind_BinariesThatFailVerificationAreNotInstalled(t *testing.T) {
	f, _ := newFinder(t, works("a build"))
	f.verify = func(context.Context, string, version) error { return errors.New("wrong version") }
	if _, err := f.find(t.Context()); err == nil {
		t.Error("find() succeeded")
	}
	wantOnly(t, filepath.Dir(f.folder), f.version.String()+".lock")
}

func TestFind_AnInterruptedBuildLeavesNoFilesAndTriesNoOtherSource(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	next := works("next")
	f, _ := newFinder(t, &fakeSource{title: "a build", do: func(_ context.Context, dir string) error {
		cancel()
		return errors.Join(writeBinaries(dir, "half"), context.Canceled)
	}}, next)
	if _, err := f.find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if next.calls.Load() != 0 {
		t.Error("another source was tried after the interrupt")
	}
	wantOnly(t, filepath.Dir(f.folder), f.version.String()+".lock")
}

func TestFind_LeftoversOfAKilledRunAreRemoved(t *testing.T) {
	f, _ := newFinder(t, works("a build"))
	leftover := filepath.Join(f.folder+".partial-1", "download")
	if err := os.MkdirAll(leftover, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(leftover, etcdBinary), nil, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(leftover, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(f.folder, 0o755); err != nil { // a cache folder whose files were deleted
		t.Fatal(err)
	}
	if _, err := f.find(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOnly(t, filepath.Dir(f.folder), f.version.String(), f.version.String()+".lock")
	wantOnly(t, f.folder, etcdBinary, apiserverBinary)
}

func TestFind_TwoRunsAtOnceBuildOnce(t *testing.T) {
	started, finish := make(chan struct{}), make(chan struct{})
	slow := &fakeSource{title: "a build", do: func(_ context.Context, dir string) error {
		close(started) // a second build would panic here
		<-finish
		return writeBinaries(dir, "a build")
	}}
	first, _ := newFinder(t, slow)
	lines := make(chan string, 10)
	second := *first
	second.log = &progress{out: channelWriter(lines), every: time.Hour}

	var wg sync.WaitGroup
	wg.Go(func() { _, err := first.find(t.Context()); check(t, err) })
	<-started
	wg.Go(func() { _, err := second.find(t.Context()); check(t, err) })
	if line := <-lines; !strings.Contains(line, "another run (process ") {
		t.Errorf("the second run printed %q, want that it waits", line)
	}
	close(finish)
	wg.Wait()
	wantOnly(t, first.folder, etcdBinary, apiserverBinary)
}

func TestFind_CanBeInterruptedWhileItWaitsForAnotherRun(t *testing.T) {
	f, _ := newFinder(t, works("a build"))
	check(t, os.MkdirAll(filepath.Dir(f.folder), 0o755))
	unlock, err := lock(t.Context(), f.folder+".lock", f.log)
	check(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	f.log = &progress{out: writerFunc(func([]byte) { cancel() }), every: time.Hour}
	if _, err := f.find(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want context.Canceled", err)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func channelWriter(c chan<- string) writerFunc {
	return func(p []byte) { c <- string(p) }
}
