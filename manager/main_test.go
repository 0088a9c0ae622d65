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

// plane returns the control plane, and starts it on the first call. Each test has its
// own namespace, so tests can run in parallel.
var plane = sync.OnceValues(func() (*envtest.ControlPlane, error) {
	started = true
	return envtest.Start(envtest.Options{StartTimeout: 3 * time.Minute}) // the timeout is long, because other tests may use the CPU
})

var started bool

func TestMain(m *testing.M) {
	// client-go and controller-runtime use these loggers by default.
	klog.SetLogger(logr.Discard())
	crlog.SetLogger(logr.Discard())
	flag.Parse()
	// Tests spend most of their time waiting, for example until a Lease expires.
	// Therefore several tests can run in parallel.
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
		// controller-runtime leaks a goroutine if a cache is stopped before the cache
		// has synced.
		abandoned := goleak.IgnoreTopFunction("sigs.k8s.io/controller-runtime/pkg/cache.newMultiNamespaceInformerHandlerRegistration.func1")
		if err := goleak.Find(abandoned); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}
