//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "node: a node needs Linux, its namespaces and its cgroups")
	os.Exit(2)
}
