package main

import (
	"cmp"
	"fmt"
	"regexp"
)

// version is a release of Kubernetes.
type version struct{ major, minor, patch string }

var versionPattern = regexp.MustCompile(`^v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$`)

// parseVersion reads "1.37.2" or "v1.37.2"; "" means the default.
func parseVersion(s string) (version, error) {
	m := versionPattern.FindStringSubmatch(cmp.Or(s, defaultVersion))
	if m == nil {
		return version{}, fmt.Errorf("K8S_VERSION (%q) must be a version like %s", s, defaultVersion)
	}
	return version{major: m[1], minor: m[2], patch: m[3]}, nil
}

// String returns the version without a "v".
func (v version) String() string { return v.major + "." + v.minor + "." + v.patch }

// module returns the version of the module k8s.io/kubernetes.
func (v version) module() string { return "v" + v.String() }

// staging returns the version of k8s.io/api, client-go and the other staging modules.
func (v version) staging() string { return "v0." + v.minor + "." + v.patch }
