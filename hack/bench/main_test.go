package main

import (
	"os"
	"testing"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// TestMain runs this process as a replica if a test has started the process as one.
// Otherwise it runs the tests.
func TestMain(m *testing.M) {
	lab.RunReplica(runReplica)
	os.Exit(m.Run())
}
