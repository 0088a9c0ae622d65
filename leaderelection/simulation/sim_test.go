package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/klog/v2"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

var (
	schedules  = flag.Int("sim.schedules", fromEnvironment("SIM_SCHEDULES", defaultSchedules), "how many schedules of each kind to run")
	seed       = flag.Uint64("sim.seed", 0, "the only schedule to run (0: the first -sim.schedules)")
	printTable = flag.Bool("sim.table", false, "print the table at the end")
	repeat     = flag.Int("sim.repeat", 1, "how often to run each schedule")
	clientgo   = flag.Int("sim.clientgo", fromEnvironment("SIM_CLIENTGO", defaultClientGo), "how many schedules of each kind to run with client-go's LeaderElector")
	mixed      = flag.Int("sim.mixed", fromEnvironment("SIM_MIXED", defaultMixed), "how many schedules of each kind to run with candidates of both implementations")
)

func fromEnvironment(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

func TestMain(m *testing.M) {
	clock.ProcessStart = time.Now // a replica is a process that starts when its Elector is created
	klog.SetLogger(klog.New(nil)) // discard the global log of client-go
	debug.SetGCPercent(400)       // collect garbage less often, to save CPU time
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if *printTable || testing.Verbose() {
			table.print(os.Stdout)
		}
		os.Exit(code)
	}))
}

// incumbent returns a candidate that uses this library.
func incumbent(rep *replica) (candidate, error) {
	config := rep.cluster.config
	config.Identity = rep.identity
	rep.callbacks.checked = true
	clientset, opts := rep.clientset(), []leaderelection.Option(nil)
	if rep.cluster.kubelets != nil {
		clientset, opts = rep.cluster.kubelets[rep.pod].clientset(rep), append(opts, rep.option())
	}
	return leaderelection.New(&config, clientset, leaderelection.Callbacks{
		OnStartedLeading: rep.callbacks.onStarted, OnStoppedLeading: rep.callbacks.onStopped, OnNewLeader: rep.callbacks.onNewLeader,
	}, rep.cluster.trace.logger(rep.name), opts...)
}

func TestSimulation(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			r := newRow("Incumbent", k)
			forEach(t, *schedules, func(t *testing.T, number uint64) {
				report := k.schedule(number).run(t, incumbent)
				r.add(report)
				report.fail(t, "TestSimulation", k, number)
			})
			if k.kubelets && r.runs >= 5 && r.proofs == 0 {
				t.Error("no Lease was claimed with proof of death")
			}
			if share := r.share(); k.name == "mild" && r.runs >= minMildRuns && share < minMildShare {
				t.Errorf("a leader was at work %.2f %% of the time, want at least %.2f %%", share, minMildShare)
			}
		})
	}
}

// minMildShare is the lowest permitted percentage of the time with a leader, in
// schedules of the kind "mild". The measured value is 98.6. The test checks the
// percentage only if at least minMildRuns schedules were run.
const (
	minMildShare = 98.3
	minMildRuns  = 200
)

// fail fails the test if the referee recorded a violation. The message
// contains the first violation and a command that repeats the schedule.
func (r *referee) fail(t *testing.T, test string, k kind, number uint64) {
	t.Helper()
	if len(r.violations) > 0 {
		t.Errorf("schedule %d of %s: %s\n\nto repeat: go test ./leaderelection/simulation -run '%s/%s' -sim.seed=%d -sim.repeat=300",
			number, k.name, r.firstViolation(), test, k.name, number)
	}
}

// forEach runs f for each schedule that the flags select. It runs several
// schedules in parallel, on all CPUs.
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
