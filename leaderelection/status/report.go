package status

import (
	"math"
	"time"

	"k8s.io/utils/ptr"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/registry"
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
	// Lease is "namespace/name", or empty if the election is not enabled. APIServer is
	// the host and the path of the API server's URL. It is empty if the API server is
	// unknown.
	Lease     string `json:"lease"`
	APIServer string `json:"apiServer"`
	// Identity is the holder identity that this process uses.
	Identity string `json:"identity"`
	// Enabled is false if this process leads without a Lease.
	Enabled bool `json:"enabled"`
	// Running is true from the call of Run until Run returns. RunError is the error that
	// Run returned.
	Running  bool   `json:"running"`
	RunError string `json:"runError,omitempty"`
	// Leading is the value of IsLeader. If Leading is true, Term is the fencing token,
	// and Since is the time at which this process sent the claim of the term. In JSON,
	// Term is a string, because many readers round numbers above 2^53.
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
	// Stuck is the error that Elector.Stuck returns. If it is not empty, only a restart
	// of the process helps.
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

// Report returns the current state of all Electors that the page shows.
func (p *Page) Report() Report {
	report, _ := p.report()
	return report
}

// report returns the Report, and the name of each Elector in the Report.
func (p *Page) report() (report Report, names []string) {
	report = Report{At: time.Now().UTC(), Electors: []Elector{}}
	for _, e := range p.electors.All() {
		if e.Replaced && e.Stuck == nil {
			continue // another Elector for the same Lease has run since then
		}
		report.Electors, names = append(report.Electors, reportOf(e, report.At)), append(names, e.Name)
	}
	return report, names
}

func reportOf(e registry.Snapshot[*history], now time.Time) Elector {
	c := &e.Config
	r := Elector{
		APIServer: e.Entry.Lease.Server, Identity: c.Identity, Enabled: c.Enabled, Running: e.Running, Leading: e.Leading,
		ValidFor: seconds(e.ValidFor), Leader: e.State.Leader, Successor: e.Successor, Watching: e.Watching,
		LastContact: -1, LastError: e.LastError,
		RunError: withoutPackage(e.RunError), Stuck: withoutPackage(e.Stuck), EndCause: withoutPackage(e.EndCause),
		Durations: Durations{seconds(c.LeaseDuration), seconds(c.RenewDeadline), seconds(c.RetryPeriod), seconds(c.StopTimeout)},
		Changes:   e.Data.list(),
	}
	if e.Leading {
		r.Term, r.Since = e.Term.Token, ptr.To(e.Term.AcquiredAt.UTC())
	}
	if !e.LastContact.IsZero() {
		r.LastContact = seconds(now.Sub(e.LastContact))
	}
	if t := c.Timing(); c.Enabled {
		r.Lease = c.LeaseNamespace + "/" + c.LeaseName
		r.Timing = &Timing{seconds(t.Outage), seconds(t.OutageEnds), seconds(t.Stop), seconds(t.Release), seconds(t.Crash),
			seconds(t.Partition), seconds(t.Polling)}
	}
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
