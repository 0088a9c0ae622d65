package leaderelection

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	clientleaderelection "k8s.io/client-go/tools/leaderelection"
)

// The durations that zero values of a Config stand for: those of client-go's
// users and of Kubernetes' own components.
const (
	DefaultLeaseDuration = 15 * time.Second
	DefaultRenewDeadline = 10 * time.Second
	DefaultRetryPeriod   = 2 * time.Second
)

// Config says for which Lease an Elector campaigns, under which name, and how
// fast. It holds plain values only, so that it can be filled from flags or from
// a file; behaviours are Options. New copies it: later changes have no effect.
type Config struct {
	// Enabled turns the election on. If false, the Elector leads at once,
	// without a Lease and without any request, until the context of Run ends:
	// for development and for programs that run as one replica. The other
	// fields but StopTimeout may then be empty.
	Enabled bool

	// Identity names this candidate in the Lease. It must be unique among all
	// processes that campaign for the Lease, and should be new for each
	// process (the pod's name, or the host's and a random suffix): two
	// processes under one identity are found out (ErrIdentityInUse), but only
	// after both have run for a while. Required.
	Identity string

	// LeaseName and LeaseNamespace name the Lease. It is created when it does
	// not exist; its namespace is not. Required.
	LeaseName      string
	LeaseNamespace string

	// LeaseDuration is how long others wait after they last saw the Lease
	// change before they claim it. It bounds how long nobody leads after a
	// crash. Whole seconds, at least one, for the API stores whole seconds;
	// the same for all candidates. Default 15 s.
	LeaseDuration time.Duration

	// RenewDeadline is how long a leader goes on trying to renew before it
	// gives up. With RetryPeriod it makes the trust window, see Window. Less
	// than LeaseDuration. Default 10 s.
	RenewDeadline time.Duration

	// RetryPeriod is the time from one renewal to the next and, for followers
	// that may not watch, the shortest time from one look at the Lease to the
	// next. RenewDeadline must be more than 1.2 times as long. Default 2 s.
	RetryPeriod time.Duration

	// ReleaseOnCancel gives the Lease back once the work has stopped, so that a
	// successor need not wait until it runs out. The Lease is never released
	// while the work still runs.
	ReleaseOnCancel bool

	// StopTimeout bounds how long the Lease goes on being renewed for work that
	// was asked to stop and has not returned. After it nothing is released and
	// Run returns ErrWorkStillRunning. Default 0: for ever.
	StopTimeout time.Duration
}

// withDefaults returns the configuration with its zero durations filled in.
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

// Window is the trust window W: for how long after it was sent a successful
// renewal entitles its sender to work.
//
//	W = min(RetryPeriod + RenewDeadline, 9/10 of LeaseDuration)
//
// Others claim no sooner than LeaseDuration after they last saw the Lease
// change, which was after that renewal was sent. So the work always has Margin,
// LeaseDuration - W, to stop.
func (c Config) Window() time.Duration {
	c = c.withDefaults()
	return min(c.RetryPeriod+c.RenewDeadline, c.LeaseDuration/10*9)
}

// Margin is what the work has to stop in after leadership could not be renewed,
// before anybody else may lead: LeaseDuration - Window().
func (c Config) Margin() time.Duration {
	return c.withDefaults().LeaseDuration - c.Window()
}

// attemptTimeout is how long a renewal is waited for before the next one
// overlaps it: four attempts fit into the window though each hangs.
func (c Config) attemptTimeout() time.Duration {
	return min(c.RetryPeriod, (c.Window()-c.RetryPeriod)/4)
}

// patience is how long a renewal is waited for when the last success is so long
// ago: with windows of minutes and more it grows, so that dozens of requests
// overlap and not thousands.
func (c Config) patience(unproven time.Duration) time.Duration {
	return max(c.attemptTimeout(), unproven/16)
}

// problems names everything that is wrong with a configuration whose defaults
// are filled in.
func (c Config) problems() (errs []error) {
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.StopTimeout < 0 {
		refuse("StopTimeout (%v) must not be negative: 0 waits for ever", c.StopTimeout)
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
		refuse("Identity is empty: give each process a name of its own, such as its pod's")
	case strings.TrimSpace(c.Identity) != c.Identity:
		refuse("Identity (%q) must not begin or end with white space", c.Identity)
	case !utf8.ValidString(c.Identity):
		refuse("Identity (%q) is not valid UTF-8: the API server would store another one", c.Identity)
	}
	if c.LeaseName == "" {
		refuse("LeaseName is empty: all replicas of one program name the same Lease")
	} else {
		for _, msg := range validation.NameIsDNSSubdomain(c.LeaseName, false) {
			refuse("LeaseName (%q) is no name for a Lease: %s", c.LeaseName, msg)
		}
	}
	if c.LeaseNamespace == "" {
		refuse("LeaseNamespace is empty: give the namespace that the program runs in")
	} else {
		for _, msg := range utilvalidation.IsDNS1123Label(c.LeaseNamespace) {
			refuse("LeaseNamespace (%q) is no name for a namespace: %s", c.LeaseNamespace, msg)
		}
	}
}

// maxLeaseDuration is what leaseDurationSeconds, an int32, can hold.
const maxLeaseDuration = (1<<31 - 1) * time.Second

func (c Config) validateDurations(refuse func(string, ...any)) {
	positive := true
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"LeaseDuration", c.LeaseDuration}, {"RenewDeadline", c.RenewDeadline}, {"RetryPeriod", c.RetryPeriod}} {
		if d.value < 0 {
			refuse("%s (%v) must not be negative: 0 means the default", d.name, d.value)
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
	if float64(c.RenewDeadline) <= clientleaderelection.JitterFactor*float64(c.RetryPeriod) {
		refuse("RenewDeadline (%v) must be more than %v times RetryPeriod (%v)",
			c.RenewDeadline, clientleaderelection.JitterFactor, c.RetryPeriod)
	}
}

// warnings tells, with numbers, what client-go accepts and is merely unwise.
func (c Config) warnings() []string {
	if !c.Enabled {
		return nil
	}
	var warnings []string
	if margin := c.Margin(); margin < time.Second {
		warnings = append(warnings, fmt.Sprintf(
			"only %v remain between the end of trust (%v after a renewal) and LeaseDuration (%v): bare client-go candidates "+
				"on the same Lease see whole seconds; a LeaseDuration of %v or more leaves a second",
			margin, c.Window(), c.LeaseDuration, 10*time.Second))
	}
	if c.RetryPeriod < 100*time.Millisecond {
		warnings = append(warnings, fmt.Sprintf(
			"RetryPeriod (%v) means %.0f renewals a second", c.RetryPeriod, 1/c.RetryPeriod.Seconds()))
	}
	if outage := c.Timing().Outage; outage < c.RetryPeriod {
		warnings = append(warnings, fmt.Sprintf(
			"an outage of the API server may end a term after %v, for a renewal is sent each RetryPeriod (%v) and trust lasts %v: "+
				"a shorter RetryPeriod leaves more attempts", outage, c.RetryPeriod, c.Window()))
	}
	if most := c.LeaseDuration / 10 * 9; c.RenewDeadline > most {
		warnings = append(warnings, fmt.Sprintf(
			"the last %v of RenewDeadline (%v) are never used: trust ends at 9/10 of LeaseDuration (%v)",
			c.RenewDeadline-most, c.RenewDeadline, c.LeaseDuration))
	}
	if c.LeaseDuration > longLease {
		warnings = append(warnings, fmt.Sprintf(
			"LeaseDuration (%v) is how long nobody leads after a crash", c.LeaseDuration))
	}
	return warnings
}

// longLease is what hardly anybody wants to wait for after a crash.
const longLease = 5 * time.Minute
