package status

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// maxChanges is how many changes the page keeps for each Elector.
const maxChanges = 30

// Page is an http.Handler that shows Electors. Create a Page with New.
type Page struct {
	mu       sync.Mutex
	electors []*shownElector
}

// New returns a Page. For each Elector, pass the result of Option to leaderelection.New.
func New() *Page { return &Page{} }

// Option returns an option for leaderelection.New. The option adds the new Elector to the
// page.
func (p *Page) Option() leaderelection.Option {
	return leaderelection.WithTraceFor(func(e *leaderelection.Elector) leaderelection.Trace {
		s := &shownElector{}
		p.add(s, e)
		return leaderelection.Trace{
			Request: s.request, LeaderObserved: s.leaderObserved,
			TermStarted: s.termStarted, TermStopping: s.termStopping, TermEnded: s.termEnded,
		}
	})
}

// add adds an Elector to the page. It removes all stopped Electors for the same Lease.
func (p *Page) add(s *shownElector, e *leaderelection.Elector) {
	s.elector, s.config = e, e.Config()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.electors = slices.DeleteFunc(p.electors, func(other *shownElector) bool {
		return other.lease() == s.lease() && !other.elector.State().Running
	})
	p.electors = append(p.electors, s)
	slices.SortStableFunc(p.electors, func(a, b *shownElector) int { return strings.Compare(a.lease(), b.lease()) })
}

// A shownElector contains an Elector and its most recent changes.
type shownElector struct {
	elector *leaderelection.Elector
	config  leaderelection.Config

	mu      sync.Mutex
	changes []Change          // the newest first
	failing map[string]string // the kind of the most recent failure, keyed by Request.For; empty after a success
}

func (s *shownElector) lease() string {
	if !s.config.Enabled {
		return ""
	}
	return s.config.LeaseNamespace + "/" + s.config.LeaseName
}

// addChange adds a change. If there are more than maxChanges changes, addChange removes
// the oldest.
func (s *shownElector) addChange(at time.Time, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = slices.Insert(s.changes, 0, Change{At: at, What: fmt.Sprintf(format, args...)})
	s.changes = s.changes[:min(len(s.changes), maxChanges)]
}

func (s *shownElector) leaderObserved(identity string, at time.Time) {
	if identity == "" {
		s.addChange(at, "the Lease is free")
		return
	}
	s.addChange(at, "new leader observed: %s", identity)
}

func (s *shownElector) termStarted(started leaderelection.TermStarted) {
	if started.Previous == leaderelection.PreviousNone {
		s.addChange(started.At, "became leader, term %v", started.Term.Token)
		return
	}
	event := map[string]string{
		leaderelection.PreviousReleased: "the Lease was released",
		leaderelection.PreviousExpired:  "the previous leader's last renewal",
		leaderelection.PreviousDeleted:  "the Lease was deleted",
		leaderelection.PreviousOwn:      "an earlier claim of this process",
	}[started.Previous]
	s.addChange(started.At, "became leader, term %v, %v after %s", started.Term.Token, short(started.SincePrevious), event)
}

func (s *shownElector) termStopping(stopping leaderelection.TermStopping) {
	s.addChange(stopping.At, "term %v ends: %s", stopping.Term.Token, withoutPackage(stopping.Cause))
}

func (s *shownElector) termEnded(end leaderelection.TermEnded) {
	switch at := end.At.Add(end.StopTook); {
	case end.Overran:
		s.addChange(at, "the callbacks of term %v have not returned after %v: the Lease is not released", end.Term.Token, short(end.StopTook))
	case end.Released:
		s.addChange(at, "the callbacks of term %v returned after %v, and the Lease was released", end.Term.Token, short(end.StopTook))
	default:
		s.addChange(at, "the callbacks of term %v returned after %v", end.Term.Token, short(end.StopTook))
	}
}

// request adds a change when the result of requests of one kind changes: the requests
// start to fail, fail for another reason, or succeed again. The kind is r.For.
func (s *shownElector) request(r leaderelection.Request) {
	kind := r.Failure
	switch kind {
	case leaderelection.FailureCanceled:
		return
	case "conflict":
		kind = ""
	}
	s.mu.Lock()
	before := s.failing[r.For]
	if s.failing == nil {
		s.failing = map[string]string{}
	}
	s.failing[r.For] = kind
	s.mu.Unlock()
	switch {
	case kind == before:
	case kind == "":
		s.addChange(r.Sent.Add(r.Took), "requests succeed again: %s", r.For)
	default:
		s.addChange(r.Sent.Add(r.Took), "requests fail: %s: %s", r.For, strings.ReplaceAll(kind, "_", " "))
	}
}

// withoutPackage returns the error's text without the prefix "leaderelection: ".
func withoutPackage(err error) string { return strings.TrimPrefix(err.Error(), "leaderelection: ") }

// short rounds a duration for display.
func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond / 10)
	}
	return d.Round(time.Second / 100)
}
