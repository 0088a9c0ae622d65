package status

import (
	"math"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A Report is the content of the page, as JSON. Durations are in seconds.
type Report struct {
	// At is the time of the report.
	At time.Time `json:"at"`
	// Electors are the Electors of this process, ordered by Lease.
	Electors []Elector `json:"electors"`
}

// An Elector is the state of one Elector.
type Elector struct {
	// Lease is "namespace/name", or empty if the election is not enabled.
	Lease string `json:"lease"`
	// Identity is the identity of this process.
	Identity string `json:"identity"`
	// Enabled is false if this process leads without a Lease.
	Enabled bool `json:"enabled"`
	// Running is true while Run has not returned.
	Running bool `json:"running"`
	// Leading is the value of IsLeader. While it is true, Term is the fencing token and
	// Since is when the Lease was acquired.
	Leading bool                 `json:"leading"`
	Term    leaderelection.Token `json:"term,omitempty"`
	Since   *time.Time           `json:"since,omitempty"`
	// ValidFor is how long leadership remains certain. It is -1, without limit, if the
	// election is not enabled.
	ValidFor float64 `json:"validFor"`
	// Leader and Successor are the last observed identities, or empty if there is none.
	Leader    string `json:"leader"`
	Successor string `json:"successor"`
	// Watching is false while the Lease is polled.
	Watching bool `json:"watching"`
	// LastContact is the time since the API server last answered about the Lease. It is
	// -1 before the first answer.
	LastContact float64 `json:"lastContact"`
	// LastError is the error of failing requests, or empty while requests succeed.
	LastError string `json:"lastError,omitempty"`
	// Stuck is the error of Elector.Stuck: only a restart of the process helps.
	Stuck string `json:"stuck,omitempty"`
	// EndCause is why the last term ended.
	EndCause string `json:"endCause,omitempty"`
	// Durations are configured. Timing follows from them.
	Durations Durations `json:"durations"`
	Timing    *Timing   `json:"timing,omitempty"`
	// Changes are the last changes, the newest first.
	Changes []Change `json:"changes"`
}

// Durations are the durations of a leaderelection.Config.
type Durations struct {
	// The fields are those of leaderelection.Config.
	LeaseDuration float64 `json:"leaseDuration"`
	RenewDeadline float64 `json:"renewDeadline"`
	RetryPeriod   float64 `json:"retryPeriod"`
	StopTimeout   float64 `json:"stopTimeout"`
}

// Timing is a leaderelection.Timing.
type Timing struct {
	// The fields are those of leaderelection.Timing.
	Outage     float64 `json:"outage"`
	OutageEnds float64 `json:"outageEnds"`
	Stop       float64 `json:"stop"`
	Release    float64 `json:"release"`
	Crash      float64 `json:"crash"`
	Partition  float64 `json:"partition"`
	Polling    float64 `json:"polling"`
}

// A Change is one event of an election.
type Change struct {
	// At is the time of the event by this machine's clock.
	At time.Time `json:"at"`
	// What describes the event, without a full stop.
	What string `json:"what"`
}

// Report returns the present state of all Electors.
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

// seconds rounds to milliseconds. It returns -1 for a duration without limit.
func seconds(d time.Duration) float64 {
	if d == math.MaxInt64 {
		return -1
	}
	return max(0, d).Round(time.Millisecond).Seconds()
}
