package leaderelection

import (
	"flag"
	"fmt"
	"time"
)

// AddFlags adds flags that set the fields of c. Most of the flags have the names that
// Kubernetes' own components use. The current values of c are the defaults. Parsing the
// flags changes c. Call New with c after the flags were parsed. If you use pflag or
// cobra, pass fs to AddGoFlagSet.
//
//	--leader-elect                       Enabled
//	--leader-elect-lease-duration        LeaseDuration
//	--leader-elect-renew-deadline        RenewDeadline
//	--leader-elect-retry-period          RetryPeriod
//	--leader-elect-resource-name         LeaseName
//	--leader-elect-resource-namespace    LeaseNamespace
//	--leader-elect-resource-lock         "leases", the only supported value
//
// The following flags do not exist in Kubernetes' components:
//
//	--leader-elect-identity              Identity
//	--leader-elect-release-on-cancel     ReleaseOnCancel
//	--leader-elect-stop-timeout          StopTimeout
//	--leader-elect-tolerate-outage       the three durations, see TolerateOutage
//
// If two flags set the same field, the last flag on the command line takes effect. To
// change one of the three durations, place its flag after
// --leader-elect-tolerate-outage.
func (c *Config) AddFlags(fs *flag.FlagSet) {
	c.AllowDisabled = true // the flag --leader-elect sets Enabled
	defaults := c.withDefaults()
	c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = defaults.LeaseDuration, defaults.RenewDeadline, defaults.RetryPeriod

	fs.BoolVar(&c.Enabled, "leader-elect", c.Enabled,
		"Elect a leader among the replicas. Only the leader works. Enable this when running more than one replica.")
	fs.DurationVar(&c.LeaseDuration, "leader-elect-lease-duration", c.LeaseDuration,
		"How long other replicas wait after the last renewal that they observed before they claim the Lease, in whole seconds. "+
			"It bounds how long nobody leads after a crash.")
	fs.DurationVar(&c.RenewDeadline, "leader-elect-renew-deadline", c.RenewDeadline,
		"How long the leader retries a renewal before it gives up. It must be less than the lease duration.")
	fs.DurationVar(&c.RetryPeriod, "leader-elect-retry-period", c.RetryPeriod,
		"The time from one renewal to the next. The renew deadline must be more than 1.2 times as long.")
	fs.StringVar(&c.LeaseName, "leader-elect-resource-name", c.LeaseName,
		"The `name` of the Lease.")
	fs.StringVar(&c.LeaseNamespace, "leader-elect-resource-namespace", c.LeaseNamespace,
		"The `namespace` of the Lease.")
	fs.Var(leasesOnly{}, "leader-elect-resource-lock",
		"The `type` of the lock object. Only \"leases\" is supported.")
	fs.StringVar(&c.Identity, "leader-elect-identity", c.Identity,
		"The `name` of this replica in the Lease. No two processes may share one.")
	fs.BoolVar(&c.ReleaseOnCancel, "leader-elect-release-on-cancel", c.ReleaseOnCancel,
		"Release the Lease when the work has stopped, so that a successor does not wait until it expires.")
	fs.DurationVar(&c.StopTimeout, "leader-elect-stop-timeout", c.StopTimeout,
		"How long the Lease is still renewed for work that was asked to stop. Afterwards the process should exit. 0 means no limit.")
	fs.Var(toleratedOutage{c}, "leader-elect-tolerate-outage",
		"Set the lease duration, the renew deadline and the retry period so that a term survives an outage of the API server of this `duration`.")
}

// leasesOnly is a flag that accepts only the value "leases".
type leasesOnly struct{}

func (leasesOnly) String() string { return "leases" }

// Set returns an error unless value is "leases".
func (leasesOnly) Set(value string) error {
	if value != "leases" {
		return fmt.Errorf("%q is not supported: use \"leases\"", value)
	}
	return nil
}

// toleratedOutage is a flag that sets LeaseDuration, RenewDeadline and RetryPeriod.
type toleratedOutage struct{ config *Config }

// String returns the longest outage that a term survives with the Config. It returns ""
// for the zero value, because package flag calls String on the zero value.
func (t toleratedOutage) String() string {
	if t.config == nil {
		return ""
	}
	enabled := *t.config
	enabled.Enabled = true
	return enabled.Timing().Outage.String()
}

func (t toleratedOutage) Set(value string) error {
	outage, err := time.ParseDuration(value)
	if err != nil {
		return err
	}
	if outage < time.Second {
		return fmt.Errorf("%v is too short: use at least 1s", outage)
	}
	t.config.LeaseDuration, t.config.RenewDeadline, t.config.RetryPeriod = TolerateOutage(outage)
	return nil
}
