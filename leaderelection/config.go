package leaderelection

import (
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
)

// These are the default durations of a Config. Kubernetes' own components use the same
// values.
const (
	DefaultLeaseDuration = 15 * time.Second
	DefaultRenewDeadline = 10 * time.Second
	DefaultRetryPeriod   = 2 * time.Second
)

// A Config contains the name of the Lease, the identity of the candidate and the
// durations of the election. All fields are plain values, which can be read from flags
// or a file. New copies the Config. Changes to the original after New have no effect.
type Config struct {
	// Enabled turns the election on. If it is false, the Elector sends no request and
	// leads at once, without a Lease, until the context of Run is done. This mode is
	// for development and for programs that run as a single replica. In this mode, all
	// other fields may be empty, but StopTimeout still has an effect.
	Enabled bool

	// AllowDisabled states that Enabled may be false on purpose. If Enabled and
	// AllowDisabled are both false, New refuses a Config that names a Lease together
	// with a clientset, because Enabled was probably forgotten and then every replica
	// would lead. Set AllowDisabled if a flag or a file sets Enabled. AddFlags sets it.
	// Default false.
	AllowDisabled bool

	// Identity names this candidate in the Lease. It must be unique among all processes
	// that campaign for the Lease. Use, for example, the pod's name, or the host's name
	// with a random suffix. A restarted process should use a new identity. With its
	// former identity it takes the Lease for that of another process, and waits until the
	// Lease expires, unless there is proof of death; see WithProofOfDeath. If two
	// processes use the same identity, Run eventually returns ErrIdentityInUse in one
	// of the processes. Required.
	Identity string

	// LeaseName and LeaseNamespace are the name and the namespace of the Lease. The
	// Elector creates the Lease if the Lease does not exist. The namespace must exist.
	// Both fields are required.
	LeaseName      string
	LeaseNamespace string

	// LeaseDuration is the time after which a candidate may claim a Lease that is not
	// renewed. The time starts when the candidate last observed a change of the Lease.
	// After a crash, nobody leads for about one LeaseDuration. LeaseDuration must be a
	// whole number of seconds, at least 1 s. Use the same value for all candidates.
	// Default 15 s.
	LeaseDuration time.Duration

	// RenewDeadline is how long a leader retries a renewal before it gives up
	// leadership. RenewDeadline and RetryPeriod together determine the trust window,
	// see Window. RenewDeadline must be less than LeaseDuration. Default 10 s.
	RenewDeadline time.Duration

	// RetryPeriod is the time from one renewal to the next renewal. A follower without
	// the right to watch the Lease waits at least RetryPeriod between two reads.
	// RenewDeadline must be more than 1.2 times RetryPeriod. Default 2 s.
	RetryPeriod time.Duration

	// If ReleaseOnCancel is true, the Elector releases the Lease when the context of
	// Run is done and the work has stopped. Another candidate can then lead at once. If
	// ReleaseOnCancel is false, another candidate leads only after the Lease has
	// expired. The Lease is never released while the work runs. Default false.
	ReleaseOnCancel bool

	// StopTimeout is how long the Elector waits for the work to stop after it has
	// cancelled the work's context. During this wait, the Elector renews the Lease. If
	// the work has not returned after StopTimeout, Run returns ErrWorkStillRunning and
	// does not release the Lease. StopTimeout also ends the attempts to release the
	// Lease, but not before one attempt was made. Default 0, which means no limit.
	StopTimeout time.Duration
}

// withDefaults returns a copy of c with the default durations in place of zero
// durations.
func (c Config) withDefaults() Config {
	if c.LeaseDuration == 0 {
		c.LeaseDuration = DefaultLeaseDuration
	}
	if c.RenewDeadline == 0 {
		c.RenewDeadline = DefaultRenewDeadline
	}
	if c.RetryPeriod == 0 {
		c.RetryPeriod = DefaultRetryPeriod
	}
	return c
}

// problems returns one error for each problem of c. The caller must have
// replaced zero durations in c by the defaults.
func (c Config) problems() (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.StopTimeout < 0 {
		refuse("StopTimeout (%v) must not be negative: use 0 for no limit", c.StopTimeout)
	}
	if c.Enabled {
		c.validateNames(refuse)
		c.validateDurations(refuse)
	}
	return errs
}

func (c Config) validateNames(refuse func(string, ...any)) {
	switch {
	case c.Identity == "":
		refuse("Identity is empty: set a unique name for each process, such as the pod's name")
	case strings.TrimSpace(c.Identity) != c.Identity:
		refuse("Identity (%q) must not begin or end with white space: remove it", c.Identity)
	case !utf8.ValidString(c.Identity):
		refuse("Identity (%q) is not valid UTF-8: the API server would store a different identity", c.Identity)
	}
	if c.LeaseName == "" {
		refuse("LeaseName is empty: set the same name in all replicas")
	} else {
		for _, msg := range validation.NameIsDNSSubdomain(c.LeaseName, false) {
			refuse("LeaseName (%q) is not a valid name of a Lease: %s", c.LeaseName, msg)
		}
	}
	if c.LeaseNamespace == "" {
		refuse("LeaseNamespace is empty: set the namespace of the program")
	} else {
		for _, msg := range utilvalidation.IsDNS1123Label(c.LeaseNamespace) {
			refuse("LeaseNamespace (%q) is not a valid name of a namespace: %s", c.LeaseNamespace, msg)
		}
	}
}

func (c Config) validateDurations(refuse func(string, ...any)) {
	positive := true
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"LeaseDuration", c.LeaseDuration}, {"RenewDeadline", c.RenewDeadline}, {"RetryPeriod", c.RetryPeriod}} {
		if d.value < 0 {
			refuse("%s (%v) must not be negative: use 0 for the default", d.name, d.value)
			positive = false
		}
	}
	if !positive {
		return
	}
	if c.LeaseDuration%time.Second != 0 {
		refuse("LeaseDuration (%v) must be whole seconds: the API stores whole seconds", c.LeaseDuration)
	}
	if c.LeaseDuration > maxLeaseDuration {
		refuse("LeaseDuration (%v) must not be more than %v: the API stores seconds in 32 bits", c.LeaseDuration, maxLeaseDuration)
	}
	if c.RenewDeadline >= c.LeaseDuration {
		refuse("RenewDeadline (%v) must be less than LeaseDuration (%v)", c.RenewDeadline, c.LeaseDuration)
	}
	if float64(c.RenewDeadline) <= clientJitterFactor*float64(c.RetryPeriod) {
		refuse("RenewDeadline (%v) must be more than %v times RetryPeriod (%v)",
			c.RenewDeadline, clientJitterFactor, c.RetryPeriod)
	}
}

// warnings returns a warning for each setting of c that is valid but not recommended.
func (c Config) warnings() []string {
	if !c.Enabled {
		return nil
	}
	var warnings []string
	if margin := c.Margin(); margin < time.Second {
		warnings = append(warnings, fmt.Sprintf(
			"only %v remain between the end of trust (%v after a renewal) and LeaseDuration (%v), and bare client-go candidates "+
				"on the same Lease compare whole seconds: use a LeaseDuration of %v or more",
			margin, c.Window(), c.LeaseDuration, 10*time.Second))
	}
	if c.RetryPeriod < 100*time.Millisecond {
		warnings = append(warnings, fmt.Sprintf(
			"RetryPeriod (%v) causes %.0f renewals a second: use a longer one", c.RetryPeriod, 1/c.RetryPeriod.Seconds()))
	}
	if outage := c.Timing().Outage; outage < c.RetryPeriod {
		warnings = append(warnings, fmt.Sprintf(
			"an outage of the API server may end a term after %v, because a renewal is sent each RetryPeriod (%v) and trust lasts %v: "+
				"use a shorter RetryPeriod", outage, c.RetryPeriod, c.Window()))
	}
	if most := maxWindow(c.LeaseDuration); c.RenewDeadline > most {
		warnings = append(warnings, fmt.Sprintf(
			"the last %v of RenewDeadline (%v) have no effect, because trust ends at 9/10 of LeaseDuration (%v)",
			c.RenewDeadline-most, c.RenewDeadline, c.LeaseDuration))
	}
	if c.LeaseDuration > longLease {
		warnings = append(warnings, fmt.Sprintf(
			"nobody leads for LeaseDuration (%v) after a crash: use a shorter one", c.LeaseDuration))
	}
	return warnings
}

// leaseKey returns the Lease in the form namespace/name. It returns "" if the election
// is not enabled.
func (c Config) leaseKey() string {
	if !c.Enabled {
		return ""
	}
	return c.LeaseNamespace + "/" + c.LeaseName
}

// logger returns a logger with the attributes "lease" and "identity". It is
// derived from the parameter logger, or from slog.Default() if this parameter is nil.
func (c Config) logger(logger *slog.Logger) *slog.Logger {
	if logger == nil {
		logger = slog.Default()
	}
	if c.Enabled {
		logger = logger.With("lease", c.leaseKey())
	}
	return logger.With("identity", c.Identity)
}
