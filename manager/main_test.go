package manager_test

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/klog/v2"
	crlog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// plane is started when the first test asks for it. Each test has a namespace of
// its own, so that they run in parallel.
var plane = sync.OnceValues(func() (*envtest.ControlPlane, error) {
	started = true
	return envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute}) // on a machine that is busy with other tests
})

var started bool

func TestMain(m *testing.M) {
	// client-go and controller-runtime log here what has no logger of its own.
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	flag.Parse()
	// Most of a test is waiting: for a Lease to run out, for work to stop.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	code := m.Run()
	if started {
		if cp, err := plane(); err == nil {
			if err := cp.Stop(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				code = 1
			}
		}
	}
	if code == 0 {
		// controller-runtime leaves it behind, waiting for ever, when a cache is stopped before it is warm.
		abandoned := goleak.IgnoreTopFunction("sigs.k8s.io/controller-runtime/pkg/cache.newMultiNamespaceInformerHandlerRegistration.func1")
		if err := goleak.Find(abandoned); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
