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

// A plane is started when the first test asks for it, and stopped in TestMain.
type plane struct {
	options envtest.Options
	mu      sync.Mutex // of those who want it for themselves
	once    sync.Once
	started *envtest.ControlPlane
	err     error
}

var (
	// shared is for all tests that leave its processes alone. They run in parallel.
	shared = plane{}
	// battered is for the tests that stop, kill and restore. Each has it for
	// itself.
	battered = plane{options: envtest.Options{APIServers: 2}}
)

func (p *plane) get(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	p.once.Do(func() { p.started, p.err = envtest.Start(p.options) })
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.started
}

// alone runs the test in parallel to those on other planes.
func (p *plane) alone(t *testing.T) *envtest.ControlPlane {
	t.Helper()
	t.Parallel()
	p.mu.Lock()
	t.Cleanup(p.mu.Unlock)
	cp := p.get(t)
	must(t, cp.Etcd().Start()) // a test that failed may have left it down
	for i := range cp.APIServers() {
		must(t, cp.APIServer(i).Start())
	}
	return cp
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of a test is waiting: for a Lease to run out, for its turn.
	if err := flag.Set("test.parallel", "16"); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, p := range []*plane{&shared, &battered} {
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

// limit ends waits for what does not come.
func limit() <-chan time.Time { return time.After(2 * time.Minute) }

// less compares resourceVersions.
func less(t *testing.T, a, b string) bool {
	t.Helper()
	order, err := resourceversion.CompareResourceVersion(a, b)
	must(t, err)
	return order < 0
}
