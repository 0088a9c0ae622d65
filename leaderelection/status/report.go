package status

import (
	"math"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A Report contains the same information as the HTML page, in a form that can be encoded
// as JSON. All lengths of time are in seconds.
type Report struct {
	// At is the time of the report.
	At time.Time `json:"at"`
	// Electors are the Electors of this process, sorted by Lease.
	Electors []Elector `json:"electors"`
}

// An Elector describes the state of one leaderelection.Elector.
type Elector struct {
	// Lease is "namespace/name", or empty if the election is not enabled.
	Lease string `json:"lease"`
	// Identity is the holder identity that this process uses.
	Identity string `json:"identity"`
	// Enabled is false if this process leads without a Lease.
	Enabled bool `json:"enabled"`
	// Running is true from the call of Run until Run returns.
	Running bool `json:"running"`
	// Leading is the value of IsLeader. If Leading is true, Term is the fencing token,
	// and Since is the time at which this process sent the claim of the term.
	Leading bool                 `json:"leading"`
	Term    leaderelection.Token `json:"term,omitempty"`
	Since   *time.Time           `json:"since,omitempty"`
	// ValidFor is how long leadership remains certain. It is -1 if the election is not
	// enabled, because leadership then has no time limit.
	ValidFor float64 `json:"validFor"`
	// Leader and Successor are the most recently observed identities. Leader is empty if
	// the Lease has no leader. Successor is empty if the Lease has no successor.
	Leader    string `json:"leader"`
	Successor string `json:"successor"`
	// Watching is true while the Lease is watched, and false while the Lease is polled.
	Watching bool `json:"watching"`
	// LastContact is the time since the API server last answered about the Lease. It is
	// -1 before the first answer.
	LastContact float64 `json:"lastContact"`
	// LastError is the error with which requests for the Lease currently fail. It is
	// empty while requests succeed.
	LastError string `json:"lastError,omitempty"`
	// Stuck is the error that Elector.Stuck returns. If it is not empty, only a restart of the process
	// helps.
	Stuck string `json:"stuck,omitempty"`
	// EndCause is the reason for which the most recent term ended.
	EndCause string `json:"endCause,omitempty"`
	// Durations are the configured durations. Timing contains the durations that follow
	// from the configured durations.
	Durations Durations `json:"durations"`
	Timing    *Timing   `json:"timing,omitempty"`
	// Changes are the most recent changes, newest first.
	Changes []Change `json:"changes"`
}

// Durations are the durations of a leaderelection.Config, in seconds.
type Durations struct {
	// See leaderelection.Config for the meaning of each field.
	LeaseDuration float64 `json:"leaseDuration"`
	RenewDeadline float64 `json:"renewDeadline"`
	RetryPeriod   float64 `json:"retryPeriod"`
	StopTimeout   float64 `json:"stopTimeout"`
}

// Timing contains the durations of a leaderelection.Timing, in seconds.
type Timing struct {
	// See leaderelection.Timing for the meaning of each field.
	Outage     float64 `json:"outage"`
	OutageEnds float64 `json:"outageEnds"`
	Stop       float64 `json:"stop"`
	Release    float64 `json:"release"`
	Crash      float64 `json:"crash"`
	Partition  float64 `json:"partition"`
	Polling    float64 `json:"polling"`
}

// A Change is one entry in the list of recent events of an Elector.
type Change struct {
	// At is the time of the event, according to the clock of this machine.
	At time.Time `json:"at"`
	// What is a description of the event, without a full stop at the end.
	What string `json:"what"`
}

// Report returns the current state of all Electors.
func (p *Page) Report() Report {
	report := Report{At: time.Now().UTC(), Electors: []Elector{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.electors {
		report.Electors = append(report.Electors, s.report(report.At))
	}
	return report
}

func (s *shownElector) report(now time.Time) Elector {
	state, c := s.elector.State(), s.config
	r := Elector{
		Lease: s.lease(), Identity: c.Identity, Enabled: c.Enabled, Running: state.Running,
		ValidFor: seconds(s.elector.ValidFor()), Leader: state.Leader, Successor: state.Successor, Watching: state.Watching,
		LastContact: -1, LastError: state.LastError,
		Durations: Durations{seconds(c.LeaseDuration), seconds(c.RenewDeadline), seconds(c.RetryPeriod), seconds(c.StopTimeout)},
	}
	if term, leading := s.elector.Term(); leading {
		r.Leading, r.Term, r.Since = true, term.Token, new(term.AcquiredAt.UTC())
	}
	if contact := s.elector.LastContact(); !contact.IsZero() {
		r.LastContact = seconds(now.Sub(contact))
	}
	if err := s.elector.Stuck(); err != nil {
		r.Stuck = withoutPackage(err)
	}
	if state.EndCause != nil {
		r.EndCause = withoutPackage(state.EndCause)
	}
	if t := c.Timing(); c.Enabled {
		r.Timing = &Timing{seconds(t.Outage), seconds(t.OutageEnds), seconds(t.Stop), seconds(t.Release), seconds(t.Crash),
			seconds(t.Partition), seconds(t.Polling)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.Changes = append([]Change{}, s.changes...)
	return r
}

// seconds converts d to seconds, rounded to 1 ms. It returns -1 if d is math.MaxInt64,
// which means no limit.
func seconds(d time.Duration) float64 {
	if d == math.MaxInt64 {
		return -1
	}
	return max(0, d).Round(time.Millisecond).Seconds()
}
