package leaderelection

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
)

func valid() Config {
	return Config{Enabled: true, Identity: "pod-1", LeaseName: "my-app-leader", LeaseNamespace: "default"}
}

func TestNew_RefusesEachWrongFieldByNameAndValue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wrong func(*Config)
		want  string
	}{
		{"no identity", func(c *Config) { c.Identity = "" }, "Identity is empty"},
		{"blank identity", func(c *Config) { c.Identity = " pod-1" }, `Identity (" pod-1") must not begin`},
		{"no lease name", func(c *Config) { c.LeaseName = "" }, "LeaseName is empty"},
		{"wrong lease name", func(c *Config) { c.LeaseName = "My_App" }, `LeaseName ("My_App") is not a valid name of a Lease`},
		{"long lease name", func(c *Config) { c.LeaseName = strings.Repeat("a", 254) }, "LeaseName"},
		{"no namespace", func(c *Config) { c.LeaseNamespace = "" }, "LeaseNamespace is empty"},
		{"wrong namespace", func(c *Config) { c.LeaseNamespace = "a.b" }, `LeaseNamespace ("a.b") is not a valid name`},
		{"negative lease", func(c *Config) { c.LeaseDuration = -time.Second }, "LeaseDuration (-1s) must not be negative"},
		{"negative deadline", func(c *Config) { c.RenewDeadline = -time.Second }, "RenewDeadline (-1s) must not be negative"},
		{"negative period", func(c *Config) { c.RetryPeriod = -time.Second }, "RetryPeriod (-1s) must not be negative"},
		{"fraction of a second", func(c *Config) { c.LeaseDuration = 15500 * time.Millisecond }, "LeaseDuration (15.5s) must be whole seconds"},
		{"excessive lease", func(c *Config) { c.LeaseDuration = 100 * 365 * 24 * time.Hour }, "must not be more than"},
		{"deadline equals lease", func(c *Config) { c.LeaseDuration = 10 * time.Second }, "RenewDeadline (10s) must be less than LeaseDuration (10s)"},
		{"invalid UTF-8", func(c *Config) { c.Identity = "pod-\xff" }, `Identity ("pod-\xff") is not valid UTF-8`},
		{"deadline above lease", func(c *Config) { c.RenewDeadline = 20 * time.Second }, "RenewDeadline (20s) must be less than LeaseDuration (15s)"},
		{"period above deadline", func(c *Config) { c.RetryPeriod = 9 * time.Second }, "RenewDeadline (10s) must be more than 1.2 times RetryPeriod (9s)"},
		{"excessive period", func(c *Config) { c.RetryPeriod = 1<<63 - 1 }, "RenewDeadline (10s) must be more than 1.2 times RetryPeriod (2562047h"},
		{"negative stop timeout", func(c *Config) { c.StopTimeout = -1 }, "StopTimeout (-1ns) must not be negative"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := valid()
			tt.wrong(&c)
			e, err := New(&c, fake.NewClientset(), Callbacks{}, nil)
			if e != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New = %v, %v; want an error with %q", e, err, tt.want)
			}
		})
	}
}

func TestNew_NamesEveryWrongFieldInOneError(t *testing.T) {
	_, err := New(&Config{Enabled: true, LeaseDuration: time.Second, StopTimeout: -1}, fake.NewClientset(), Callbacks{}, nil)
	if err == nil {
		t.Fatal("New accepted wrong fields")
	}
	for _, field := range []string{"Identity", "LeaseName", "LeaseNamespace", "RenewDeadline (10s)", "StopTimeout"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("the error does not name %s: %v", field, err)
		}
	}
}

func TestNew_RefusesNilArguments(t *testing.T) {
	c := valid()
	if _, err := New(nil, fake.NewClientset(), Callbacks{}, nil); err == nil || !strings.Contains(err.Error(), "configuration is nil") {
		t.Errorf("New without a configuration = %v", err)
	}
	for name, clientset := range map[string]kubernetes.Interface{"nil": nil, "typed nil": (*kubernetes.Clientset)(nil)} {
		if _, err := New(&c, clientset, Callbacks{}, nil); err == nil || !strings.Contains(err.Error(), "clientset is nil") {
			t.Errorf("New with a %s clientset = %v", name, err)
		}
	}
	if _, err := New(&c, fake.NewClientset(), Callbacks{}, nil, nil); err != nil {
		t.Errorf("New with nil callbacks, logger and option = %v, want it to work", err)
	}
}

func TestNew_NeedsNothingIfNotEnabled(t *testing.T) {
	if _, err := New(&Config{}, nil, Callbacks{}, nil); err != nil {
		t.Errorf("New = %v", err)
	}
	if _, err := New(&Config{StopTimeout: -1}, nil, Callbacks{}, nil); err == nil {
		t.Error("New accepted a negative StopTimeout")
	}
}

func TestConfig_ZeroDurationsAreTheDefaults(t *testing.T) {
	c := Config{}.withDefaults()
	if c.LeaseDuration != 15*time.Second || c.RenewDeadline != 10*time.Second || c.RetryPeriod != 2*time.Second {
		t.Errorf("defaults = %v/%v/%v", c.LeaseDuration, c.RenewDeadline, c.RetryPeriod)
	}
	if w, m := (Config{}).Window(), (Config{}).Margin(); w != 12*time.Second || m != 3*time.Second {
		t.Errorf("Window = %v, Margin = %v; want 12s and 3s", w, m)
	}
}

// FuzzConfig_EachAcceptedOneIsSafe checks each configuration that New accepts. Margin
// must be at least a tenth of LeaseDuration, because the work needs time to stop. Four
// attempts that hang must fit into the trust window.
func FuzzConfig_EachAcceptedOneIsSafe(f *testing.F) {
	f.Add(int64(15*time.Second), int64(10*time.Second), int64(2*time.Second))
	f.Add(int64(time.Second), int64(600*time.Millisecond), int64(100*time.Millisecond))
	f.Add(int64(15*time.Second), int64(14999999999), int64(12*time.Second))
	f.Add(int64(maxLeaseDuration), int64(1<<60), int64(1))
	f.Fuzz(func(t *testing.T, lease, deadline, period int64) {
		c := valid()
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = time.Duration(lease), time.Duration(deadline), time.Duration(period)
		c = c.withDefaults()
		if len(c.problems()) != 0 {
			return
		}
		if c.Margin() < c.LeaseDuration/10 {
			t.Errorf("%v/%v/%v leaves only %v to stop", c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, c.Margin())
		}
		if got := c.RetryPeriod + 4*c.attemptTimeout(); got > c.Window() {
			t.Errorf("%v/%v/%v: four attempts last until %v, after the window %v", c.LeaseDuration, c.RenewDeadline, c.RetryPeriod, got, c.Window())
		}
		if err := checkEngine(&c); err != nil {
			t.Errorf("client-go refuses a configuration that New accepts: %v", err)
		}
		_ = c.warnings()
	})
}

func TestConfig_WarnsOfUnwiseSettingsWithNumbers(t *testing.T) {
	c := valid()
	c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = 2*time.Second, time.Second, 50*time.Millisecond
	warnings := strings.Join(c.warnings(), "\n")
	for _, want := range []string{"only 950ms remain", "20 renewals a second"} {
		if !strings.Contains(warnings, want) {
			t.Errorf("warnings %q lack %q", warnings, want)
		}
	}
	for _, tt := range []struct {
		lease, deadline, retry time.Duration
		want                   string
	}{
		{15 * time.Second, 10 * time.Second, 8 * time.Second, "end a term after 4.125s"},
		{20 * time.Second, 19 * time.Second, 2 * time.Second, "the last 1s of RenewDeadline (19s) have no effect"},
		{10 * time.Minute, 5 * time.Minute, 10 * time.Second, "nobody leads for LeaseDuration (10m0s) after a crash"},
	} {
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = tt.lease, tt.deadline, tt.retry
		if warnings := c.warnings(); len(warnings) != 1 || !strings.Contains(warnings[0], tt.want) {
			t.Errorf("%v/%v/%v has the warnings %q, want %q", tt.lease, tt.deadline, tt.retry, warnings, tt.want)
		}
	}
	if w := valid().withDefaults().warnings(); len(w) != 0 {
		t.Errorf("warnings for the defaults: %q", w)
	}
}

func TestConfig_HoldsPlainValuesOnly(t *testing.T) {
	config := reflect.TypeFor[Config]()
	for i := range config.NumField() {
		switch f := config.Field(i); f.Type.Kind() {
		case reflect.Bool, reflect.String, reflect.Int64:
		default:
			t.Errorf("%s is a %v: behaviour belongs in an Option", f.Name, f.Type)
		}
	}
}

func TestNew_ReportsOptionsAndFieldsInOneError(t *testing.T) {
	c := valid()
	c.Identity, c.StopTimeout = "", -1
	shared := NewSharedWatch(nil, "elsewhere")
	_, err := New(&c, nil, Callbacks{}, nil, WithLeaseLabels(map[string]string{"not a key": "x", "app": "not a value!"}), WithSharedWatch(shared))
	if err == nil {
		t.Fatal("New accepted every wrong argument")
	}
	for _, want := range []string{"Identity is empty", "StopTimeout (", "the clientset is nil", `"not a key"`, `"not a value!"`, `"elsewhere"`, "its clientset is nil"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New = %v, want it to contain %q", err, want)
		}
	}
}
