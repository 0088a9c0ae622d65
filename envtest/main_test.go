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

// plane is a control plane that several tests use. The first test that calls
// get starts the control plane. TestMain stops the control plane.
type plane struct {
	options envtest.Options
	mu      sync.Mutex // locked while one test uses the control plane alone
	once    sync.Once
	started *envtest.ControlPlane
	err     error
}

var (
	// shared is the control plane for tests that do not stop its servers. These
	// tests run in parallel.
	shared = plane{}
	// exclusive is the control plane for tests that stop, kill or restore its
	// servers. These tests run one after the other.
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

// alone waits until no other test uses this plane, and returns the control
// plane. No other test can use the plane until this test has ended.
func (p *plane) alone(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	t.Parallel()
	p.mu.Lock()
	t.Cleanup(p.mu.Unlock)
	cp := p.get(t)
	must(t, cp.Etcd().Start()) // an earlier test that failed may have stopped etcd
	for i := range cp.APIServers() {
		must(t, cp.APIServer(i).Start())
	}
	return cp
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests spend most of their time waiting. Therefore many tests can run in
	// parallel.
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

// timeout returns a channel that receives a value after two minutes.
func timeout() <-chan time.Time { return time.After(2 * time.Minute) }

// less reports whether the resourceVersion a is lower than the resourceVersion
// b.
func less(t *testing.T, a, b string) bool {
	t.Helper()
	order, err := resourceversion.CompareResourceVersion(a, b)
	must(t, err)
	return order < 0
}
