package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/registry"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func configOf(identity string) *leaderelection.Config {
	return &leaderelection.Config{Enabled: true, Identity: identity, LeaseName: "app", LeaseNamespace: "ns", ReleaseOnCancel: true}
}

func notEnabled(lease string) *leaderelection.Config {
	return &leaderelection.Config{LeaseNamespace: "ns", LeaseName: lease}
}

// monitor is a Registry whose Traces are empty. It counts the Electors that
// were garbage collected.
type monitor struct {
	registry.Registry[struct{}]
	collected atomic.Int64
}

func (m *monitor) option() leaderelection.Option {
	return m.Option(func(*registry.Entry[struct{}]) leaderelection.Trace { return leaderelection.Trace{} })
}

// newElector returns an Elector that m shows.
func (m *monitor) newElector(t *testing.T, client *leaderelectiontest.Client, config *leaderelection.Config, work func(context.Context), opts ...leaderelection.Option) *leaderelection.Elector {
	t.Helper()
	var clientset kubernetes.Interface
	if client != nil {
		clientset = client.Clientset()
	}
	e, err := leaderelection.New(config, clientset, leaderelection.Callbacks{OnStartedLeading: work}, slog.New(slog.DiscardHandler), append(opts, m.option())...)
	if err != nil {
		t.Fatal(err)
	}
	runtime.AddCleanup(e, func(*monitor) { m.collected.Add(1) }, m)
	return e
}

// run runs an Elector until stop is called.
func run(e *leaderelection.Elector) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// names returns the names of all entries. It appends "!" to the name of an Elector that
// does not run, and the error if Run has returned one.
func (m *monitor) names() (names []string) {
	for _, s := range m.All() {
		name := s.Name
		if !s.Running {
			name += "!"
		}
		if s.RunError != nil && !s.Replaced {
			name += " " + s.RunError.Error()
		}
		names = append(names, name)
	}
	return names
}

func (m *monitor) want(t *testing.T, when string, want ...string) {
	t.Helper()
	synctest.Wait()
	got := m.names()
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("%s: %q, want %q", when, got, want)
	}
}

// awaitCollected runs the garbage collector until it has collected the wanted number of
// Electors. Call it outside of a synctest bubble.
func (m *monitor) awaitCollected(t *testing.T, want int64) {
	t.Helper()
	for range 200 {
		runtime.GC()
		if m.collected.Load() >= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := m.collected.Load(); got != want {
		t.Errorf("%d Electors were garbage collected, want %d", got, want)
	}
	runtime.KeepAlive(m)
}

func TestRegistry_HasAnEntryFromNewToTheEndOfRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var m monitor
		e := m.newElector(t, server.Client("a"), configOf("a"), nil)
		m.want(t, "created", "Lease ns/app!")
		for range 2 {
			stop := run(e)
			time.Sleep(time.Second)
			m.want(t, "running", "Lease ns/app")
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			m.want(t, "ended")
		}
	})
}

func TestRegistry_OneOptionServesSeveralElectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var m monitor
		option := m.option()
		for _, lease := range []string{"first", "second"} {
			config := configOf("a")
			config.LeaseName = lease
			e := m.newElector(t, server.Client(lease), config, nil, option, option) // three times for one Elector
			defer run(e)()
		}
		m.want(t, "two electors", "Lease ns/first", "Lease ns/second")
	})
}

// The names must differ if possible. The Leases or the numbers must always differ.
func TestRegistry_DistinguishesElectorsForLeasesOfTheSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		east, west := leaderelectiontest.NewServer(), leaderelectiontest.NewServer()
		defer east.Close()
		defer west.Close()
		host := func(s *leaderelectiontest.Server) string { return registry.ServerOf(s.Client("a").Config().Host) }
		var m monitor
		var electors []*leaderelection.Elector
		for _, e := range []struct {
			server   *leaderelectiontest.Server
			identity string
		}{{east, "a"}, {west, "a"}, {west, "b"}} {
			electors = append(electors, m.newElector(t, e.server.Client(e.identity), configOf(e.identity), nil))
		}
		for _, lease := range []string{"x", "y", "y"} {
			electors = append(electors, m.newElector(t, nil, notEnabled(lease), nil))
		}
		m.want(t, "six electors", "election that is not enabled (ns/x)!",
			`election that is not enabled (ns/y), identity ""!`, `election that is not enabled (ns/y), identity ""!`,
			"Lease ns/app on "+host(east)+"!", "Lease ns/app on "+host(west)+`, identity "a"!`, "Lease ns/app on "+host(west)+`, identity "b"!`)
		type key struct {
			registry.Lease
			number int
		}
		keys := map[key]bool{}
		for _, s := range m.All() {
			keys[key{s.Lease, s.Number}] = true
		}
		if len(keys) != len(electors) {
			t.Errorf("%d Electors have the keys %v", len(electors), keys)
		}
		runtime.KeepAlive(electors)
	})
}

func TestServerOf_ReturnsHostAndPath(t *testing.T) {
	for url, want := range map[string]string{
		"":                               "",
		"https://10.96.0.1:443":          "10.96.0.1:443",
		"https://10.96.0.1:443/":         "10.96.0.1:443",
		"https://proxy/k8s/clusters/c-1": "proxy/k8s/clusters/c-1",
		"https://proxy/k8s/clusters/c-2": "proxy/k8s/clusters/c-2",
		"https://user:secret@proxy/a%2F": "proxy/a%2F",
		"https://[fd00::1]:6443":         "[fd00::1]:6443",
		"http://a%ffb/":                  "a?b",
	} {
		if got := registry.ServerOf(url); got != want {
			t.Errorf("ServerOf(%q) = %q, want %q", url, got, want)
		}
	}
}

func TestRegistry_ReusesTheLowestNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var m monitor
		numbers := func() (all []int) {
			for _, s := range m.All() {
				all = append(all, s.Number)
			}
			return all
		}
		stopA := run(m.newElector(t, server.Client("a"), configOf("a"), nil))
		synctest.Wait()
		defer run(m.newElector(t, server.Client("b"), configOf("b"), nil))()
		synctest.Wait()
		if got := numbers(); !reflect.DeepEqual(got, []int{1, 2}) {
			t.Errorf("the numbers are %v, want 1 and 2", got)
		}
		if err := stopA(); err != nil {
			t.Fatal(err)
		}
		defer run(m.newElector(t, server.Client("c"), configOf("c"), nil))()
		synctest.Wait()
		if got := numbers(); !reflect.DeepEqual(got, []int{2, 1}) {
			t.Errorf("after the first elector ended, the numbers are %v, want 2 and 1", got)
		}
	})
}

// runUntilDuplicate runs an Elector whose identity another process uses, until Run
// returns ErrIdentityInUse.
func runUntilDuplicate(t *testing.T, m *monitor, server *leaderelectiontest.Server) *leaderelection.Elector {
	t.Helper()
	other, err := leaderelection.New(configOf("a"), server.Client("other").Clientset(), leaderelection.Callbacks{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(other)
	time.Sleep(time.Second)
	e := m.newElector(t, server.Client("a"), configOf("a"), nil)
	if err := e.Run(t.Context()); !errors.Is(err, leaderelection.ErrIdentityInUse) {
		t.Fatalf("Run = %v, want ErrIdentityInUse", err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestRegistry_KeepsTheErrorOfRunUntilAnElectorForTheLeaseRuns(t *testing.T) {
	var m monitor
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		runUntilDuplicate(t, &m, server)
	})
	m.awaitCollected(t, 1) // the error remains although the Elector does not
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		e := runUntilDuplicate(t, &m, server) // in another cluster
		const failed = "leaderelection: another process uses the same identity"
		names := m.names()
		if len(names) != 2 || !strings.Contains(names[0], "! "+failed) || !strings.Contains(names[1], "! "+failed) {
			t.Fatalf("after two errors: %q", names)
		}
		next := m.newElector(t, server.Client("b"), configOf("b"), nil)
		if names := m.names(); len(names) != 3 || !strings.Contains(names[1], failed) {
			t.Errorf("after New of the next elector: %q", names)
		}
		stop := run(next)
		synctest.Wait()
		all := m.All()
		if len(all) != 2 || all[0].RunError == nil || !all[1].Running || all[1].Number != 1 {
			t.Errorf("while the next elector runs, the entries are %+v, want the error of the other cluster, and the next elector with the number 1", all)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		runtime.KeepAlive(e)
	})
	m.awaitCollected(t, 3)
	if names := m.names(); len(names) != 1 {
		t.Errorf("at the end: %q, want only the error in the first cluster", names)
	}
}

// An Elector that was created and never ran is not running, even after the program has
// dropped it.
func TestRegistry_KeepsAnElectorThatNeverRan(t *testing.T) {
	for _, dropUnused := range []bool{false, true} {
		var m monitor
		m.DropUnused = dropUnused
		server := leaderelectiontest.NewServer()
		defer server.Close()
		m.newElector(t, server.Client("a"), configOf("a"), nil)
		kept := m.newElector(t, server.Client("b"), configOf("b"), nil)
		m.awaitCollected(t, 1)
		if got, want := len(m.All()), map[bool]int{false: 2, true: 1}[dropUnused]; got != want {
			t.Errorf("with DropUnused %t: %q, want %d", dropUnused, m.names(), want)
		}
		// An Elector for the same Lease replaces only the Elector that nobody can run.
		e := m.newElector(t, server.Client("c"), configOf("c"), nil)
		stop := run(e)
		for state := range e.Changes(t.Context()) {
			if state.Leading {
				break
			}
		}
		if names := fmt.Sprint(m.names()); strings.Count(names, "Lease") != 2 || !strings.Contains(names, `identity "b"!`) {
			t.Errorf("with DropUnused %t, while another elector runs: %q", dropUnused, names)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		runtime.KeepAlive(kept)
	}
}

func TestRegistry_ASecondElectorReplacesOneThatNeverRan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var m monitor
		first := m.newElector(t, server.Client("a"), configOf("a"), nil)
		stop := run(m.newElector(t, server.Client("a"), configOf("a"), nil))
		m.want(t, "the second elector runs", "Lease ns/app")
		if err := stop(); err != nil {
			t.Error(err)
		}
		stop = run(first)
		m.want(t, "the first elector runs", "Lease ns/app")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRegistry_KeepsNoElectorAlive(t *testing.T) {
	var m monitor
	const many = 20
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		for i := range many {
			config := configOf("a")
			config.LeaseName = fmt.Sprint("tenant-", i)
			stop := run(m.newElector(t, server.Client("a"), config, nil))
			time.Sleep(10 * time.Second)
			m.want(t, "running", "Lease ns/tenant-")
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		m.want(t, "all have ended")
	})
	m.awaitCollected(t, many)
}

// While the work of an ended Run still runs, its Elector must not be garbage collected,
// because Stuck reports the work. The Elector is collected after the work has returned.
func TestRegistry_ShowsWorkThatOutlivesRun(t *testing.T) {
	var m monitor
	server := leaderelectiontest.NewServer()
	defer server.Close()
	stuck := func() int {
		count := 0
		for _, s := range m.All() {
			if errors.Is(s.Stuck, leaderelection.ErrWorkStillRunning) {
				count++
			}
		}
		return count
	}
	returned, started := make(chan struct{}), make(chan struct{})
	func() {
		config := configOf("a")
		config.StopTimeout = 10 * time.Millisecond
		e := m.newElector(t, server.Client("a"), config, func(context.Context) {
			close(started)
			<-returned
		})
		stop := run(e)
		<-started
		if err := stop(); !errors.Is(err, leaderelection.ErrWorkStillRunning) {
			t.Errorf("Run = %v, want ErrWorkStillRunning", err)
		}
	}()
	for range 3 {
		runtime.GC()
	}
	if got := stuck(); got != 1 || m.collected.Load() != 0 {
		t.Errorf("while the work runs, %d Electors are stuck, and %d were collected", got, m.collected.Load())
	}

	// Another Elector for this Lease does not hide the work.
	e := m.newElector(t, server.Client("b"), configOf("b"), nil)
	stop := run(e)
	runs := func() bool {
		return slices.ContainsFunc(m.All(), func(s registry.Snapshot[struct{}]) bool { return s.Running })
	}
	for deadline := time.Now().Add(10 * time.Second); !runs(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the other Elector does not run: %q", m.names())
		}
	}
	if got := stuck(); got != 1 {
		t.Errorf("while another Elector runs, %d Electors are stuck, want 1", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	runtime.KeepAlive(e)
	close(returned)
	m.awaitCollected(t, 2)
	if all := m.All(); stuck() != 0 || len(all) != 0 {
		t.Errorf("after the work has returned: %v", all)
	}
}

func TestRegistry_ForgetsUntilRunIsCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := leaderelectiontest.NewServer()
		defer server.Close()
		var m monitor
		e := m.newElector(t, server.Client("a"), configOf("a"), nil)
		stop := run(e)
		synctest.Wait()
		m.Forget(func(l registry.Lease) bool { return l.Name == "other" })
		m.want(t, "another Lease was forgotten", "Lease ns/app")
		m.Forget(func(l registry.Lease) bool { return l.Name == "app" })
		m.want(t, "forgotten")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		m.want(t, "ended")
		stop = run(e)
		m.want(t, "running again", "Lease ns/app")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
	})
}
