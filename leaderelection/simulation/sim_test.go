package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

var (
	schedules = flag.Int("sim.schedules", fromEnvironment("SIM_SCHEDULES", defaultSchedules), "how many schedules of each kind to run")
	seed      = flag.Uint64("sim.seed", 0, "the only schedule to run (0: the first -sim.schedules)")
	repeat    = flag.Int("sim.repeat", 1, "how often to run each schedule")
	clientgo  = flag.Int("sim.clientgo", fromEnvironment("SIM_CLIENTGO", defaultClientGo), "how many schedules of each kind to run with bare client-go")
)

func fromEnvironment(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

func TestMain(m *testing.M) {
	klog.SetLogger(klog.New(nil)) // client-go's own lines go nowhere but into a slog handler
	goleak.VerifyTestMain(m)
}

// elector makes a candidate of the code that ships.
func elector(m *member) (candidate, error) {
	config := m.world.config
	config.Identity = m.identity
	m.duty.strict = true
	return leaderelection.New(&config, m.clientset(), leaderelection.Callbacks{
		OnStartedLeading: m.duty.onStarted, OnStoppedLeading: m.duty.onStopped, OnNewLeader: m.duty.onNewLeader,
	}, m.world.trace.logger(m.name))
}

func TestSimulation(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			var covered, runs atomic.Int64
			blamed := map[string]int{}
			var mu sync.Mutex // guards blamed
			forEach(t, *schedules, func(t *testing.T, number uint64) {
				report := k.schedule(number).run(t, elector)
				runs.Add(1)
				covered.Add(int64(report.covered))
				mu.Lock()
				for how := range report.excused {
					blamed[how]++
				}
				mu.Unlock()
				if len(report.violations) > 0 {
					t.Errorf("schedule %d of %s: %s\n\nto repeat: go test ./leaderelection/simulation -run 'TestSimulation/%s' -sim.seed=%d -sim.repeat=300",
						number, k.name, report.report(), k.name, number)
				}
			})
			if n := runs.Load(); n > 0 {
				t.Logf("%d schedules, with a leader %.2f %% of the time; schedules with overlaps that are excused, by what is to blame: %v",
					n, 100*float64(covered.Load())/float64(n)/float64(length), blamed)
			}
		})
	}
}

// forEach runs f for the schedules that the flags ask for, on all processors.
func forEach(t *testing.T, count int, f func(*testing.T, uint64)) {
	t.Helper()
	first, last := uint64(1), uint64(count)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	var next atomic.Uint64
	total := (last - first + 1) * uint64(*repeat)
	t.Run("schedules", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint(worker), func(t *testing.T) {
				t.Parallel()
				for n := next.Add(1) - 1; n < total && !t.Failed(); n = next.Add(1) - 1 {
					f(t, first+n/uint64(*repeat))
				}
			})
		}
	})
}
