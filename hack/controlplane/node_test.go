package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRun_RefusesWhatItCannotProvide(t *testing.T) {
	for _, tc := range []struct {
		version string
		args    []string
		want    string
	}{
		{"", []string{"nodes"}, `arguments ["nodes"] are unknown`},
		{"", []string{"node", "kubelet"}, "are unknown"},
		{"1.30.0", []string{"node"}, "must be " + defaultVersion},
	} {
		t.Setenv("K8S_VERSION", tc.version)
		if _, err := run(t.Context(), tc.args); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("run(%q) with K8S_VERSION=%q returns %v, want %q", tc.args, tc.version, err, tc.want)
		}
	}
}

func TestVerifyNode_ComparesTheVersion(t *testing.T) {
	v, err := parseVersion("")
	check(t, err)
	for text, ok := range map[string]bool{"Kubernetes v" + defaultVersion: true, "Kubernetes v0.0.0": false} {
		dir := t.TempDir()
		check(t, os.WriteFile(filepath.Join(dir, "kubelet"), []byte("#!/bin/sh\necho "+text+"\n"), 0o755))
		if err := verifyNode(t.Context(), dir, v); (err == nil) != ok {
			t.Errorf("verifyNode() = %v for %q", err, text)
		}
	}
}
