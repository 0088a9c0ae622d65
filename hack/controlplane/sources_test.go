package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseVersion(t *testing.T) {
	for in, want := range map[string]string{"": defaultVersion, "1.36.0": "1.36.0", "v1.36.10": "1.36.10"} {
		if v, err := parseVersion(in); err != nil || v.String() != want {
			t.Errorf("parseVersion(%q) = %s, %v, want %s", in, v, err, want)
		}
	}
	for _, in := range []string{"1.37", "latest", "1.37.2-rc.1", "../1.37.2", "1.37.02", " 1.37.2"} {
		if v, err := parseVersion(in); err == nil {
			t.Errorf("parseVersion(%q) = %s, want an error", in, v)
		}
	}
}

func TestDefaultVersion_IsTheOneThatTheModulePins(t *testing.T) {
	m, err := readGoMod(t.Context(), filepath.Join("apiserver", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := parseVersion("")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range m.Require {
		if r.Path == "k8s.io/kubernetes" && r.Version != v.module() {
			t.Errorf("apiserver/go.mod pins %s, the default is %s", r.Version, v)
		}
	}
	for _, r := range m.Replace {
		if r.New.Version != v.staging() {
			t.Errorf("apiserver/go.mod replaces %s by %s, want %s", r.Old.Path, r.New.Version, v.staging())
		}
	}
}

func TestDerive_ReplacesStagingModulesByPublishedOnes(t *testing.T) {
	m := &goMod{}
	err := json.Unmarshal([]byte(`{"Go": "1.25.0", "Replace": [
		{"Old": {"Path": "k8s.io/api"}, "New": {"Path": "./staging/src/k8s.io/api"}},
		{"Old": {"Path": "example.com/fork"}, "New": {"Path": "example.com/other", "Version": "v1.0.0"}}]}`), m)
	if err != nil {
		t.Fatal(err)
	}
	got := m.derive(version{"1", "36", "4"})
	for _, want := range []string{"go 1.25.0\n", "require k8s.io/kubernetes v1.36.4\n", "replace k8s.io/api => k8s.io/api v0.36.4\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "example.com") {
		t.Errorf("a module other than the staging modules is replaced:\n%s", got)
	}
}

// archives starts a server with an index in setup-envtest's format. The index lists one
// archive. The server answers requests for that archive with the given status.
func archives(t *testing.T, status int) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	name := fmt.Sprintf("envtest-v%s-%s-%s.tar.gz", defaultVersion, runtime.GOOS, runtime.GOARCH)
	mux.HandleFunc("/index", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "releases:\n  v%s:\n    %s:\n      hash: 00\n      selfLink: %s/%s", defaultVersion, name, server.URL, name)
	})
	mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	return server
}

func TestProbe(t *testing.T) {
	pinned, other := version{"1", "37", "2"}, version{"1", "0", "0"}
	for _, tc := range []struct {
		name    string
		status  int
		version version
		want    string
	}{
		{"published and reachable", http.StatusOK, pinned, ""},
		{"the archive is not reachable", http.StatusForbidden, pinned, "403"},
		{"not published", http.StatusOK, other, "was not published"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := &prebuilt{indexURL: archives(t, tc.status).URL + "/index", version: tc.version}
			switch err := p.probe(t.Context()); {
			case tc.want == "" && err != nil:
				t.Errorf("probe() = %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("probe() = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestVerify_ChecksTheVersionsThatTheBinariesPrint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, output string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho '"+output+"'\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(etcdBinary, "etcd Version: 3.7.3")
	write(apiserverBinary, "Kubernetes v1.37.2")
	if err := verify(t.Context(), dir, version{"1", "37", "2"}); err != nil {
		t.Error(err)
	}
	write(apiserverBinary, "Kubernetes v0.0.0")
	if err := verify(t.Context(), dir, version{"1", "37", "2"}); err == nil {
		t.Error("verify accepted a server without a version")
	}
}

func TestBuild_ReturnsTheMessageOfTheCompiler(t *testing.T) {
	module := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module m\n", "main.go": "package main\n\nfunc main() { undefined() }\n"} {
		if err := os.WriteFile(filepath.Join(module, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b := &build{log: &progress{out: writerFunc(func([]byte) {}), every: time.Hour}}
	err := b.compile(t.Context(), module, "-mod=readonly", ".", "", filepath.Join(t.TempDir(), "m"))
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("err = %v, want the compiler's message", err)
	}
}

func TestBuildLog_ReadsTheOutputOfGoBuild(t *testing.T) {
	log := &buildLog{}
	for _, chunk := range []string{"go: downloading k8s.io/api v0.37.2\nk8s.io/a", "pi/core/v1\n", "k8s.io/client-go/rest\n", "x.go:1:2: oops\nhalf"} {
		if n, err := log.Write([]byte(chunk)); err != nil || n != len(chunk) {
			t.Fatal(n, err)
		}
	}
	want := "1 modules downloaded, 2 packages compiled, now compiling k8s.io/client-go/rest"
	if got := log.status(); got != want {
		t.Errorf("status() = %q, want %q", got, want)
	}
	if end := log.end(); !strings.HasSuffix(end, "x.go:1:2: oops\nhalf") {
		t.Errorf("end() = %q", end)
	}
}

func TestHeartbeat_PrintsUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beats := 0
		p := &progress{out: writerFunc(func([]byte) { beats++ }), every: 15 * time.Second}
		stop := p.heartbeat(func() string { return "building" })
		time.Sleep(50 * time.Second)
		synctest.Wait()
		stop()
		stop() // a second call is permitted, because callers also defer stop
		time.Sleep(time.Minute)
		if beats != 3 {
			t.Errorf("%d heartbeats in 50 s, want 3", beats)
		}
	})
}
