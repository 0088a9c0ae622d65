package main

import (
	"os"
	"testing"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// TestMain runs the test binary as a replica if a test has started it as one.
func TestMain(m *testing.M) {
	lab.RunReplica(runReplica)
	os.Exit(m.Run())
}
