package leaderelection

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestConfig_FlagsHaveTheNamesOfKubernetesComponents(t *testing.T) {
	var c Config
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c.AddFlags(fs)
	for _, name := range []string{
		"leader-elect", "leader-elect-lease-duration", "leader-elect-renew-deadline", "leader-elect-retry-period",
		"leader-elect-resource-lock", "leader-elect-resource-name", "leader-elect-resource-namespace",
	} {
		if f := fs.Lookup(name); f == nil || f.Usage == "" {
			t.Errorf("there is no flag --%s, or it has no help", name)
		}
	}
}

func TestConfig_FlagsFillEachField(t *testing.T) {
	want := Config{
		Enabled: true, AllowDisabled: true, Identity: "pod-1", LeaseName: "my-app", LeaseNamespace: "there",
		LeaseDuration: 30 * time.Second, RenewDeadline: 20 * time.Second, RetryPeriod: 3 * time.Second,
		ReleaseOnCancel: true, StopTimeout: 25 * time.Second,
	}
	args := []string{
		"--leader-elect", "--leader-elect-identity=pod-1", "--leader-elect-resource-name=my-app",
		"--leader-elect-resource-namespace=there", "--leader-elect-lease-duration=30s", "--leader-elect-renew-deadline=20s",
		"--leader-elect-retry-period=3s", "--leader-elect-release-on-cancel", "--leader-elect-stop-timeout=25s",
		"--leader-elect-resource-lock=leases",
	}
	for name, parse := range map[string]func(*flag.FlagSet) error{
		"flag": func(fs *flag.FlagSet) error { return fs.Parse(args) },
		"pflag": func(fs *flag.FlagSet) error {
			set := pflag.NewFlagSet("test", pflag.ContinueOnError)
			set.AddGoFlagSet(fs)
			return set.Parse(args)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var c Config
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			c.AddFlags(fs)
			if err := parse(fs); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, c); diff != "" {
				t.Errorf("the flags fill in (-want +got)\n%s", diff)
			}
		})
	}
}

func TestConfig_FlagsDefaultToWhatItHolds(t *testing.T) {
	c := Config{Enabled: true, LeaseName: "my-app", RetryPeriod: time.Second}
	want := c.withDefaults()
	want.AllowDisabled = true
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c.AddFlags(fs)
	if err := fs.Parse(nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("without arguments it holds (-want +got)\n%s", diff)
	}
	if got := fs.Lookup("leader-elect-lease-duration").DefValue; got != "15s" {
		t.Errorf("the default of the lease duration is reported as %s", got)
	}
	var help strings.Builder
	fs.SetOutput(&help)
	fs.PrintDefaults()
	if !strings.Contains(help.String(), "-leader-elect-tolerate-outage duration") {
		t.Errorf("the help is\n%s", help.String())
	}
}

func TestConfig_OneFlagSetsAllDurations(t *testing.T) {
	var c, want Config
	want.LeaseDuration, want.RenewDeadline, _ = TolerateOutage(60 * time.Second)
	want.RetryPeriod, want.AllowDisabled = 5*time.Second, true
	fs := flag.NewFlagSet("test", flag.ContinueOnError)
	c.AddFlags(fs)
	if err := fs.Parse([]string{"--leader-elect-tolerate-outage=60s", "--leader-elect-retry-period=5s"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("the flags fill in (-want +got)\n%s", diff)
	}
}

func TestConfig_FlagsRefuseNonsense(t *testing.T) {
	for _, arg := range []string{
		"--leader-elect-resource-lock=endpoints", "--leader-elect-tolerate-outage=soon", "--leader-elect-tolerate-outage=1ms",
		"--leader-elect-lease-duration=15",
	} {
		var c Config
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		c.AddFlags(fs)
		if err := fs.Parse([]string{arg}); err == nil {
			t.Errorf("%s was accepted", arg)
		}
	}
}
