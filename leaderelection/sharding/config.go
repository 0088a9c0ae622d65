package sharding

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/sharding/internal/table"
)

// DefaultShards is the number of shards if neither Shards nor Names is set.
const DefaultShards = 256

// A Config contains the names, the shards and the durations of a group. New copies the
// Config.
type Config struct {
	// Name is the name of the group, and the name of the coordinator's Lease. The names of
	// the other Leases begin with it. Required.
	Name string
	// Namespace is the namespace of the Leases. Required.
	Namespace string
	// Identity names this member. It must be unique among all members, and must be valid
	// in the name of a Lease, such as a pod's name. Required.
	Identity string

	// Shards is the number of shards, at most 100,000. Use ten or more for each member that
	// the group may ever have. The number of the running group counts: a member with
	// another number logs a warning and uses the number of the group. Default 256.
	Shards int
	// Names contains the names of the shards, such as clusters or tenants. If it is not
	// empty, Shards must be 0. All members must use the same names: a member with other
	// names gets no shards. Default: the shards have only numbers.
	Names []string

	// Weight is this member's share of the shards, relative to the weights of the others.
	// Default 1.
	Weight int
	// Generation is the version of the program. During a rolling update, a member with a
	// greater number gets shards first. Use, for example, the time of the build. Default 0.
	Generation int64
	// Zone is the zone of this member. A shard that has lost its owner is preferably given
	// to a member in the same zone. Default "".
	Zone string
	// Prefer returns how well a shard fits a member. A higher number is preferred, within
	// the fair share of each member. It must return the same number in all processes.
	// Default nil.
	Prefer func(shard int, member string) int

	// LeaseDuration, RenewDeadline and RetryPeriod are the durations of the members' Leases
	// and of the coordinator's Lease. Use the same values for all members. See
	// leaderelection.Config. Defaults 15 s, 10 s and 2 s.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration

	// DrainTimeout is how long running work on a shard may take to finish before its
	// contexts are cancelled, when the shard moves to another member. Default 30 s.
	DrainTimeout time.Duration
	// SettleFor is how long shards are not moved for balance after a member has joined. A
	// scale-up of several members is then one rebalance. Default 1 s.
	SettleFor time.Duration
	// MaxMoving is how many shards may be handed over at the same time. Default an eighth
	// of the shards, at least 16.
	MaxMoving int
	// LeaveTimeout is how long Run tries to hand over its shards after its context is done.
	// The shards that are left then wait for another owner until this member's Lease is
	// released. It does not limit work that does not stop. Default 5 s.
	LeaveTimeout time.Duration
}

func (c Config) withDefaults() Config {
	if c.Shards == 0 && len(c.Names) == 0 {
		c.Shards = DefaultShards
	}
	c.Names = slices.Clone(c.Names)
	slices.Sort(c.Names)
	setDefault(&c.Weight, 1)
	setDefault(&c.LeaseDuration, leaderelection.DefaultLeaseDuration)
	setDefault(&c.RenewDeadline, leaderelection.DefaultRenewDeadline)
	setDefault(&c.RetryPeriod, leaderelection.DefaultRetryPeriod)
	setDefault(&c.DrainTimeout, 30*time.Second)
	setDefault(&c.SettleFor, time.Second)
	setDefault(&c.LeaveTimeout, 5*time.Second)
	setDefault(&c.MaxMoving, max(16, max(c.Shards, len(c.Names))/8))
	return c
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// problems returns one error for each problem that the electors do not report.
func (c Config) problems() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch {
	case c.Name == "":
		refuse("Name is empty: set the same name in all replicas")
	case len(utilvalidation.IsValidLabelValue(c.Name)) > 0:
		refuse("Name (%q) is not valid as the value of a label: use at most 63 letters, digits, '-' and '.'", c.Name)
	}
	for _, msg := range validation.NameIsDNSSubdomain(memberName(c.Name, c.Identity), false) {
		refuse("Name (%q) and Identity (%q) make no valid name of a Lease: %s", c.Name, c.Identity, msg)
	}
	switch {
	case len(c.Names) > 0 && c.Shards != 0:
		refuse("Shards (%d) and Names (%d names) are both set: set one of them", c.Shards, len(c.Names))
	case len(c.Names) == 0 && (c.Shards < 1 || c.Shards > table.MaxShards):
		refuse("Shards (%d) must be 1 to %d", c.Shards, table.MaxShards)
	case len(c.Names) > table.MaxShards:
		refuse("Names has %d names, and at most %d are allowed", len(c.Names), table.MaxShards)
	}
	for i, name := range c.Names {
		if name == "" {
			refuse("Names contains an empty name: remove it")
		}
		if i > 0 && name == c.Names[i-1] {
			refuse("Names contains %q twice: remove one of them", name)
		}
	}
	if msgs := utilvalidation.IsValidLabelValue(c.Zone); len(msgs) > 0 {
		refuse("Zone (%q) is not valid as the value of a label: %s", c.Zone, msgs[0])
	}
	for _, d := range []struct {
		name  string
		value int64
	}{{"Weight", int64(c.Weight)}, {"DrainTimeout", int64(c.DrainTimeout)}, {"SettleFor", int64(c.SettleFor)}, {"MaxMoving", int64(c.MaxMoving)},
		{"LeaveTimeout", int64(c.LeaveTimeout)}} {
		if d.value < 0 {
			refuse("%s (%d) must not be negative: use 0 for the default", d.name, d.value)
		}
	}
	return errors.Join(errs...)
}

func (c Config) election(lease string) *leaderelection.Config {
	return &leaderelection.Config{
		Enabled: true, Identity: c.Identity, LeaseName: lease, LeaseNamespace: c.Namespace, ReleaseOnCancel: true,
		LeaseDuration: c.LeaseDuration, RenewDeadline: c.RenewDeadline, RetryPeriod: c.RetryPeriod,
	}
}

func memberName(group, identity string) string { return group + ".m." + identity }

func slabName(group string, n int) string { return fmt.Sprintf("%s.s.%d", group, n) }
