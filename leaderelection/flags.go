package leaderelection

import (
	"flag"
	"fmt"
	"time"
)

// AddFlags adds flags that fill the Config, under the names that Kubernetes' own
// components give them. What the Config holds before is their default; it must
// live until the flags are parsed. For pflag or cobra hand the set over with
// AddGoFlagSet.
//
//	--leader-elect                       Enabled
//	--leader-elect-lease-duration        LeaseDuration
//	--leader-elect-renew-deadline        RenewDeadline
//	--leader-elect-retry-period          RetryPeriod
//	--leader-elect-resource-name         LeaseName
//	--leader-elect-resource-namespace    LeaseNamespace
//	--leader-elect-resource-lock         "leases"; nothing else is known here
//
// and of this package alone
//
//	--leader-elect-identity              Identity
//	--leader-elect-release-on-cancel     ReleaseOnCancel
//	--leader-elect-stop-timeout          StopTimeout
//	--leader-elect-tolerate-outage       the three durations, see TolerateOutage
//
// Of flags that set the same field the later one counts: those for one duration
// belong after --leader-elect-tolerate-outage.
func (c *Config) AddFlags(fs *flag.FlagSet) {
	defaults := c.withDefaults()
	c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = defaults.LeaseDuration, defaults.RenewDeadline, defaults.RetryPeriod

	fs.BoolVar(&c.Enabled, "leader-elect", c.Enabled,
		"Elect a leader among the replicas, and have only that one work. Enable this when running more than one replica.")
	fs.DurationVar(&c.LeaseDuration, "leader-elect-lease-duration", c.LeaseDuration,
		"How long other replicas wait after the last renewal that they saw before they claim the Lease: whole seconds. "+
			"It bounds how long nobody leads after a crash.")
	fs.DurationVar(&c.RenewDeadline, "leader-elect-renew-deadline", c.RenewDeadline,
		"How long the leader goes on trying to renew the Lease before it gives up. It must be less than the lease duration.")
	fs.DurationVar(&c.RetryPeriod, "leader-elect-retry-period", c.RetryPeriod,
		"The time from one renewal to the next. The renew deadline must be more than 1.2 times as long.")
	fs.StringVar(&c.LeaseName, "leader-elect-resource-name", c.LeaseName,
		"The `name` of the Lease.")
	fs.StringVar(&c.LeaseNamespace, "leader-elect-resource-namespace", c.LeaseNamespace,
		"The `namespace` of the Lease.")
	fs.Var(leasesOnly{}, "leader-elect-resource-lock",
		"The `type` of the object that is locked. Only \"leases\" is supported.")
	fs.StringVar(&c.Identity, "leader-elect-identity", c.Identity,
		"The `name` of this replica in the Lease. No two processes may share one.")
	fs.BoolVar(&c.ReleaseOnCancel, "leader-elect-release-on-cancel", c.ReleaseOnCancel,
		"Release the Lease once the work has stopped, so that a successor need not wait until it runs out.")
	fs.DurationVar(&c.StopTimeout, "leader-elect-stop-timeout", c.StopTimeout,
		"How long the Lease goes on being renewed for work that was told to stop. After it the process should exit. 0 waits for ever.")
	fs.Var(toleratedOutage{c}, "leader-elect-tolerate-outage",
		"Set the lease duration, the renew deadline and the retry period so that outages of the API server of this `duration` are survived.")
}

// leasesOnly accepts the one lock there is.
type leasesOnly struct{}

func (leasesOnly) String() string { return "leases" }

// Set refuses other locks than Leases.
func (leasesOnly) Set(value string) error {
	if value != "leases" {
		return fmt.Errorf("%q is not supported: only \"leases\" is", value)
	}
	return nil
}

// toleratedOutage sets three durations at once.
type toleratedOutage struct{ config *Config }

// String is what outage the Config tolerates now; flag also asks the zero value.
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
		return fmt.Errorf("%v is less than a second", outage)
	}
	t.config.LeaseDuration, t.config.RenewDeadline, t.config.RetryPeriod = TolerateOutage(outage)
	return nil
}
