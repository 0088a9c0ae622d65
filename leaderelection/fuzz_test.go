package leaderelection

import (
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzConfig_Names checks the names in a Config. An accepted name must be valid for a
// Lease. The error for a refused name must contain the name of the Config field.
func FuzzConfig_Names(f *testing.F) {
	f.Add("pod-1", "my-app", "default")
	f.Add("", "", "")
	f.Add(" pod", "My_App", "a.b")
	f.Add("pod\n", strings.Repeat("a", 254), strings.Repeat("b", 64))
	f.Fuzz(func(t *testing.T, identity, name, namespace string) {
		c := valid().withDefaults()
		c.Identity, c.LeaseName, c.LeaseNamespace = identity, name, namespace
		problems := c.problems()
		for _, problem := range problems {
			if !strings.HasPrefix(problem.Error(), "Identity") && !strings.HasPrefix(problem.Error(), "LeaseName") {
				t.Errorf("%v: the message does not name the field", problem)
			}
		}
		if len(problems) == 0 && (identity == "" || name == "" || namespace == "" || strings.Contains(namespace, ".") || strings.Contains(name, "/")) {
			t.Errorf("%q, %q, %q are accepted", identity, name, namespace)
		}
	})
}

// FuzzConfig_Flags requires that every command line is either refused with an error or
// fills a Config.
func FuzzConfig_Flags(f *testing.F) {
	f.Add("--leader-elect --leader-elect-lease-duration=15s")
	f.Add("--leader-elect-tolerate-outage=60s --leader-elect-retry-period 1s")
	f.Add("--leader-elect-tolerate-outage=-1ns")
	f.Add("--leader-elect-tolerate-outage=2562047h47m16.854775807s")
	f.Add("--leader-elect-resource-lock=endpoints")
	f.Fuzz(func(t *testing.T, line string) {
		c := valid()
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		c.AddFlags(flags)
		if flags.Parse(strings.Fields(line)) == nil {
			_, _, _ = c.problems(), c.Timing().String(), c.withDefaults().warnings()
		}
	})
}

// FuzzTiming_DurationsKeepWhatWasAsked checks the durations that TolerateOutage and
// FailOverWithin return. The durations must be valid. With TolerateOutage, a term must
// survive the given outage. With FailOverWithin, a follower must replace a crashed
// leader within the given limit.
func FuzzTiming_DurationsKeepWhatWasAsked(f *testing.F) {
	for _, d := range []time.Duration{0, -1, 1, time.Second, 15 * time.Second, time.Minute, time.Hour, 1<<63 - 1} {
		f.Add(int64(d))
	}
	f.Fuzz(func(t *testing.T, asked int64) {
		c := valid()
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = TolerateOutage(time.Duration(asked))
		if problems := c.problems(); len(problems) > 0 {
			t.Errorf("TolerateOutage(%v): %v", time.Duration(asked), problems)
		}
		if got := c.Timing().Outage; got < min(time.Duration(asked), maxLeaseDuration/2) {
			t.Errorf("TolerateOutage(%v) gives an outage of %v", time.Duration(asked), got)
		}
		c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = FailOverWithin(time.Duration(asked))
		if problems := c.problems(); len(problems) > 0 {
			t.Errorf("FailOverWithin(%v): %v", time.Duration(asked), problems)
		}
		if got := c.Timing().Crash; got > max(time.Duration(asked), 2500*time.Millisecond) {
			t.Errorf("FailOverWithin(%v) takes %v", time.Duration(asked), got)
		}
	})
}
