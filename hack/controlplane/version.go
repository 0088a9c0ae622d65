package main

import (
	"cmp"
	"fmt"
	"regexp"
)

// version is a release of Kubernetes.
type version struct{ major, minor, patch string }

var versionPattern = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`)

// parseVersion parses a version such as "1.37.2" or "v1.37.2". For "" it returns the
// default version.
func parseVersion(s string) (version, error) {
	m := versionPattern.FindStringSubmatch(cmp.Or(s, defaultVersion))
	if m == nil {
		return version{}, fmt.Errorf("K8S_VERSION (%q) must be a version like %s", s, defaultVersion)
	}
	return version{major: m[1], minor: m[2], patch: m[3]}, nil
}

// String returns the version without the prefix "v", for example 1.37.2.
func (v version) String() string { return v.major + "." + v.minor + "." + v.patch }

// module returns the version of the Go module k8s.io/kubernetes, for example v1.37.2.
func (v version) module() string { return "v" + v.String() }

// staging returns the version of k8s.io/api, k8s.io/client-go and the other modules that
// are published from the Kubernetes repository, for example v0.37.2.
func (v version) staging() string { return "v0." + v.minor + "." + v.patch }
