package envtest_test

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/haproxy-template-ic/incumbent/envtest"
)

// plane is a control plane that the first test starts and TestMain stops.
type plane struct {
	options envtest.Options
	mu      sync.Mutex // held by the test that uses the plane alone
	once    sync.Once
	started *envtest.ControlPlane
	err     error
}

var (
	// shared is for tests that do not stop its servers. They run in parallel.
	shared = plane{}
	// exclusive is for tests that stop, kill or restore servers. They run one after
	// the other.
	exclusive = plane{options: envtest.Options{APIServers: 2}}
)

func (p *plane) get(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	p.once.Do(func() { p.started, p.err = envtest.Start(p.options) })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.started
}

// alone returns the control plane for the use of this test alone. The test runs in
// parallel with tests on other planes.
func (p *plane) alone(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	t.Parallel()
	p.mu.Lock()
	t.Cleanup(p.mu.Unlock)
	cp := p.get(t)
	must(t, cp.Etcd().Start()) // a failed test may have left it stopped
	for i := range cp.APIServers() {
		must(t, cp.APIServer(i).Start())
	}
	return cp
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests wait most of the time, so many can run in parallel.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, p := range []*plane{&shared, &exclusive} {
		if err := p.started.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// timeout ends a wait that would otherwise never end.
func timeout() <-chan time.Time { return time.After(2 * time.Minute) }

// less compares resourceVersions.
func less(t *testing.T, a, b string) bool {
	t.Helper()
	order, err := resourceversion.CompareResourceVersion(a, b)
	must(t, err)
	return order < 0
}
