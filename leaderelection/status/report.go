package status

import (
	"math"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A Report is what the page shows, as JSON. Durations are in seconds.
type Report struct {
	// At is when it was made.
	At time.Time `json:"at"`
	// Electors are those of this process, ordered by Lease.
	Electors []Elector `json:"electors"`
}

// An Elector is what a Report says of one.
type Elector struct {
	// Lease is its namespace and name; empty if the election is not enabled.
	Lease string `json:"lease"`
	// Identity is this process's.
	Identity string `json:"identity"`
	// Enabled is false if it leads without a Lease, and Running true while it runs.
	Enabled bool `json:"enabled"`
	Running bool `json:"running"`
	// Leading is as IsLeader says; Term is the fencing token then, Since the time at
	// which the Lease was won, and ValidFor how long that is certain from now (-1: for
	// ever, without an election).
	Leading  bool                 `json:"leading"`
	Term     leaderelection.Token `json:"term,omitempty"`
	Since    *time.Time           `json:"since,omitempty"`
	ValidFor float64              `json:"validFor"`
	// Leader and Heir are identities as last seen, empty if there is none.
	Leader string `json:"leader"`
	Heir   string `json:"heir"`
	// Watching is false while the Lease is polled.
	Watching bool `json:"watching"`
	// LastContact is how long ago the API server told something of the Lease; -1 if
	// it never has.
	LastContact float64 `json:"lastContact"`
	// Trouble is why requests fail now, Stuck why only a new process helps, and Ended
	// why the last term ended.
	Trouble string `json:"trouble,omitempty"`
	Stuck   string `json:"stuck,omitempty"`
	Ended   string `json:"ended,omitempty"`
	// Durations are what was configured, and Timing what follows.
	Durations Durations `json:"durations"`
	Timing    *Timing   `json:"timing,omitempty"`
	// Changes are the last ones, the newest first.
	Changes []Change `json:"changes"`
}

// Durations are those of a leaderelection.Config.
type Durations struct {
	// LeaseDuration, RenewDeadline, RetryPeriod and StopTimeout are as there.
	LeaseDuration float64 `json:"leaseDuration"`
	RenewDeadline float64 `json:"renewDeadline"`
	RetryPeriod   float64 `json:"retryPeriod"`
	StopTimeout   float64 `json:"stopTimeout"`
}

// Timing is a leaderelection.Timing.
type Timing struct {
	// The fields are as there.
	Outage     float64 `json:"outage"`
	OutageEnds float64 `json:"outageEnds"`
	Stop       float64 `json:"stop"`
	Release    float64 `json:"release"`
	Crash      float64 `json:"crash"`
	Partition  float64 `json:"partition"`
	Polling    float64 `json:"polling"`
}

// A Change is something that happened.
type Change struct {
	// At is when, by this machine's clock, and What is a sentence without a full stop.
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// Report is what is known now.
func (p *Page) Report() Report {
	report := Report{At: time.Now().UTC(), Electors: []Elector{}}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.subjects {
		report.Electors = append(report.Electors, s.report(report.At))
	}
	return report
}

func (s *subject) report(now time.Time) Elector {
	state, c := s.elector.State(), s.config
	r := Elector{
		Lease: s.lease(), Identity: c.Identity, Enabled: c.Enabled, Running: state.Running,
		ValidFor: seconds(s.elector.ValidFor()), Leader: state.Leader, Heir: state.Successor, Watching: state.Watching,
		LastContact: -1, Trouble: state.LastError,
		Durations: Durations{seconds(c.LeaseDuration), seconds(c.RenewDeadline), seconds(c.RetryPeriod), seconds(c.StopTimeout)},
	}
	if term, leading := s.elector.Term(); leading {
		r.Leading, r.Term, r.Since = true, term.Token, new(term.AcquiredAt.UTC())
	}
	if contact := s.elector.LastContact(); !contact.IsZero() {
		r.LastContact = seconds(now.Sub(contact))
	}
	if err := s.elector.Stuck(); err != nil {
		r.Stuck = plain(err)
	}
	if state.EndCause != nil {
		r.Ended = plain(state.EndCause)
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

// seconds rounds to milliseconds; -1 is for ever.
func seconds(d time.Duration) float64 {
	if d == math.MaxInt64 {
		return -1
	}
	return max(0, d).Round(time.Millisecond).Seconds()
}
