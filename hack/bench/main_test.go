package main

import (
	"os"
	"testing"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// TestMain runs a replica if a test has started this process with lab.StartReplica.
// Otherwise it runs the tests.
func TestMain(m *testing.M) {
	lab.RunReplica(runReplica)
	os.Exit(m.Run())
}
