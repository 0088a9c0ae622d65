package manager_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/config"
	crmanager "sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/manager"
)

func TestNew_ReportsInvalidOptions(t *testing.T) {
	for want, change := range map[string]func(*crmanager.Options){
		"LeaderElectionResourceLockInterface is invalid": func(o *crmanager.Options) {
			o.LeaderElectionResourceLockInterface = &resourcelock.LeaseLock{}
		},
		`LeaderElectionResourceLock ("endpoints")`: func(o *crmanager.Options) { o.LeaderElectionResourceLock = "endpoints" },
		"LeaderElectionID is empty":                func(o *crmanager.Options) { o.LeaderElectionID = "" },
		"RenewDeadline (2s) must be less than LeaseDuration (2s)": func(o *crmanager.Options) {
			o.LeaseDuration = ptr.To(2 * time.Second)
		},
	} {
		opts := managerOptions("default", &logs{})
		change(&opts)
		mgr, err := manager.New(&rest.Config{Host: "https://cluster.invalid"}, opts)
		if err == nil || !strings.Contains(err.Error(), want) || mgr != nil {
			t.Errorf("New returned %v and %v, want only an error with %q", mgr, err, want)
		}
	}
	if _, err := manager.New(&rest.Config{}, managerOptions("default", &logs{}), manager.WithFencing(4)); err == nil || !strings.Contains(err.Error(), "WithFencing has an invalid mode: 4") {
		t.Errorf("with an invalid mode New returned %v", err)
	}
	if _, err := manager.New(nil, managerOptions("default", &logs{})); err == nil || !strings.Contains(err.Error(), "must specify Config") {
		t.Errorf("without a config New returned %v", err)
	}
	if _, err := manager.New(nil, crmanager.Options{}); err == nil {
		t.Error("without a config and without election New returned nil")
	}
}

func TestNew_WithoutLeaderElectionReturnsAPlainManager(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(manager.WithWriteGuard()), func(o *crmanager.Options) {
			o.LeaderElection = false
			o.LeaderElectionID = ""
			o.LeaderElectionResourceLockInterface = &resourcelock.LeaseLock{} // ignored, because LeaderElection is false
		})
		w := newWorker(0)
		if err := p.Add(w); err != nil {
			t.Fatal(err)
		}
		start(t, p)
		<-w.started
		<-p.Elected()
		if err := p.stop(); err != nil {
			t.Error(err)
		}
		if manager.ElectorOf(p.Manager) != nil || m.Count("", "") > 0 {
			t.Errorf("there is an elector: %v, and %d requests were made", manager.ElectorOf(p.Manager) != nil, m.Count("", ""))
		}
	})
}

func TestNew_ElectionOptionsKeepTheirMeaning(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		elsewhere := m.Client("elsewhere")
		p := m.make("a", incumbent(manager.WithIdentity("me")), func(o *crmanager.Options) {
			o.LeaderElectionConfig = elsewhere.Config()
			o.LeaderElectionLabels = map[string]string{"team": "blue"}
			o.LeaderElectionResourceLock = "leases"
			o.LeaseDuration = ptr.To(5 * time.Second)
		})
		start(t, p)
		<-p.Elected()
		lease, err := m.Get("default", leaseName)
		if err != nil {
			t.Fatal(err)
		}
		if *lease.Spec.HolderIdentity != "me" || *lease.Spec.LeaseDurationSeconds != 5 || lease.Labels["team"] != "blue" {
			t.Errorf("the Lease is %v", lease)
		}
		// The trust window begins with the claim and lasts RenewDeadline + RetryPeriod.
		if left := p.elector().ValidFor(); left != trustWindow {
			t.Errorf("leadership is certain for %v, want %v", left, trustWindow)
		}
		if n := m.Count("a", ""); n > 0 {
			t.Errorf("%d requests were made with the application's client", n)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNew_DurationsDefaultToControllerRuntimes(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent(), func(o *crmanager.Options) { o.LeaseDuration, o.RenewDeadline, o.RetryPeriod = nil, nil, nil })
		start(t, p)
		<-p.Elected()
		if left := p.elector().ValidFor(); left != 12*time.Second {
			t.Errorf("leadership is certain for %v, want 12s", left)
		}
		identity := m.holder()
		if _, suffix, found := strings.Cut(identity, "_"); !found || suffix == "" {
			t.Errorf("the identity is %q, want a name, _ and a suffix", identity)
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestNew_IdentityDefaultsToThePodName(t *testing.T) {
	t.Setenv("POD_NAME", "operator-7f9c")
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent())
		start(t, p)
		<-p.Elected()
		if name, suffix, _ := strings.Cut(m.holder(), "_"); name != "operator-7f9c" || suffix == "" {
			t.Errorf("the Lease is held by %q, want the pod's name, _ and a suffix", m.holder())
		}
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
}

// The test does not run in a pod.
func TestNew_TheNamespaceIsThatOfTheKubeconfigsContext(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config")
	t.Setenv("KUBECONFIG", file)
	t.Setenv("POD_NAMESPACE", "watched")
	context := clientcmdapi.NewConfig()
	context.Clusters["c"] = &clientcmdapi.Cluster{Server: "http://cluster.invalid"}
	context.Contexts["a"] = &clientcmdapi.Context{Cluster: "c", Namespace: "operators"}
	for want, change := range map[string]func(){
		"operators": func() {},
		`"b"`:       func() { context.Contexts["b"] = &clientcmdapi.Context{Cluster: "c", Namespace: "other"} },
	} {
		change()
		if err := clientcmd.WriteToFile(*context, file); err != nil {
			t.Fatal(err)
		}
		mgr, err := manager.New(&rest.Config{Host: "http://cluster.invalid"}, managerOptions("", &logs{}))
		switch {
		case want == "operators":
			if err != nil || manager.ElectorOf(mgr).Config().LeaseNamespace != want {
				t.Errorf("New returned %v, want a Manager with the Lease in %s", err, want)
			}
		case err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "set LeaderElectionNamespace"):
			t.Errorf("New returned %v for two contexts, want an error with both and a remedy", err)
		}
		delete(context.Contexts, "b")
	}
}

func TestNew_KeepsTheLoggerOfTheOptions(t *testing.T) {
	runInMemory(t, func(t *testing.T, m memory) {
		p := m.make("a", incumbent())
		for name, logger := range map[string]interface{ Info(string, ...any) }{
			"manager": p.GetLogger().WithName("leaderelection"), "controllers": p.GetControllerOptions().Logger,
		} {
			logger.Info("mine", "by", name)
			if len(p.logs.with("mine", "by="+name)) != 1 {
				t.Errorf("a line of the %s' logger is lost", name)
			}
		}
		start(t, p)
		<-p.Elected()
		_ = p.stop()
		for _, want := range []string{"Became leader", "Released lease"} {
			if len(p.logs.with(want, "lease=default/operator")) != 1 {
				t.Errorf("the line %q is missing", want)
			}
		}
		if all, of := p.logs.with("ttempting to acquire leader lease..."), p.logs.with("ttempting to acquire leader lease...", "level=DEBUG", "by=client-go"); len(all) != len(of) {
			t.Errorf("lines of controller-runtime's election are among %q", all)
		}
	})
}

func TestNew_WarmsControllersUpByDefault(t *testing.T) {
	for name, tt := range map[string]struct {
		set  *bool
		want bool
	}{"default": {nil, true}, "off": {ptr.To(false), false}, "on": {ptr.To(true), true}} {
		t.Run(name, func(t *testing.T) {
			mgr, err := manager.New(leaderelectiontest.NewServer().Client("a").Config(), crmanager.Options{
				LeaderElection: true, LeaderElectionID: "app", LeaderElectionNamespace: "ns",
				Controller: config.Controller{EnableWarmup: tt.set}, Metrics: metricsserver.Options{BindAddress: "0"},
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := mgr.GetControllerOptions().EnableWarmup; got == nil || *got != tt.want {
				t.Errorf("EnableWarmup = %v, want %t", got, tt.want)
			}
		})
	}
}
