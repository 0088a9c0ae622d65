package main

import (
	"fmt"
	"strings"
)

// A pair is a version of the Kubernetes modules (k8s.io/client-go and others) with a
// version of controller-runtime that is made for it.
type pair struct{ name, kubernetes, controllerRuntime string }

// next is the name of the pair that consists of the newest published versions.
const next = "next"

// pairs lists the pairs, the oldest first. The oldest pair is what go.mod requires.
var pairs = []pair{
	{"0.35", "v0.35.10", "v0.23.3"},
	{"0.36", "v0.36.6", "v0.24.1"},
	{"0.37", "v0.37.2", "v0.25.2"},
	{name: next},
}

// A server is a version of kube-apiserver with the tests that run against it.
type server struct {
	name, version string
	tests         string // the name in the table
	arguments     []string
}

const (
	everyTest   = "unit, integration"
	fencingOnly = "fencing"
)

var (
	everyArgument   = []string{"-p", "2", "./leaderelection/...", "./manager/...", "./envtest/..."}
	fencingArgument = []string{"-run", "Fence", "./envtest/integration"}
)

// servers lists the API servers, the oldest first. The patch versions are the newest
// that the module proxy serves.
var servers = []server{
	{"1.30", "1.30.0", fencingOnly, fencingArgument},
	{"1.35", "1.35.4", everyTest, everyArgument},
	{"1.36", "1.36.3", everyTest, everyArgument},
	{"1.37", "1.37.2", everyTest, everyArgument},
}

// selectPairs returns the pair with the given name. For "" it returns all pairs except
// next.
func selectPairs(name string) ([]pair, error) {
	if name == "" {
		return pairs[:len(pairs)-1], nil
	}
	for _, p := range pairs {
		if p.name == name {
			return []pair{p}, nil
		}
	}
	return nil, fmt.Errorf("-pair unknown: %q, use one of %s", name, pairNames())
}

// selectServers returns the server with the given name, or all servers for "".
func selectServers(name string) ([]server, error) {
	if name == "" {
		return servers, nil
	}
	for _, s := range servers {
		if s.name == name {
			return []server{s}, nil
		}
	}
	return nil, fmt.Errorf("-server unknown: %q, use one of %s", name, serverNames())
}

func pairNames() string {
	var names []string
	for _, p := range pairs {
		names = append(names, p.name)
	}
	return strings.Join(names, ", ")
}

func serverNames() string {
	var names []string
	for _, s := range servers {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
