package status

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// kept is how many changes of an Elector are kept.
const kept = 30

// A Page is an http.Handler that shows Electors.
type Page struct {
	mu       sync.Mutex
	subjects []*subject
}

// New makes a Page. Give its Option to each Elector.
func New() *Page { return &Page{} }

// Option lets an Elector be shown.
func (p *Page) Option() leaderelection.Option {
	s := &subject{}
	return leaderelection.WithTrace(leaderelection.Trace{
		Created:        func(e *leaderelection.Elector) { p.admit(s, e) },
		Request:        s.request,
		LeaderObserved: s.leaderSeen,
		TermStarted:    s.began,
		TermStopping:   s.ending,
		TermEnded:      s.ended,
	})
}

// admit takes in an Elector, in the place of an earlier one for the same Lease
// that does not run any more.
func (p *Page) admit(s *subject, e *leaderelection.Elector) {
	s.elector, s.config = e, e.Config()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.subjects = slices.DeleteFunc(p.subjects, func(other *subject) bool {
		return other.lease() == s.lease() && !other.elector.State().Running
	})
	p.subjects = append(p.subjects, s)
	slices.SortStableFunc(p.subjects, func(a, b *subject) int { return strings.Compare(a.lease(), b.lease()) })
}

// A subject is one Elector.
type subject struct {
	elector *leaderelection.Elector
	config  leaderelection.Config

	mu      sync.Mutex
	changes []Change          // the newest first
	failing map[string]string // kinds, by what the requests were for
}

func (s *subject) lease() string {
	if !s.config.Enabled {
		return ""
	}
	return s.config.LeaseNamespace + "/" + s.config.LeaseName
}

func (s *subject) note(at time.Time, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes = slices.Insert(s.changes, 0, Change{At: at, What: fmt.Sprintf(format, args...)})
	s.changes = s.changes[:min(len(s.changes), kept)]
}

func (s *subject) leaderSeen(identity string, at time.Time) {
	if identity == "" {
		s.note(at, "the Lease is free")
		return
	}
	s.note(at, "leader seen: %s", identity)
}

func (s *subject) began(b leaderelection.TermStarted) {
	if b.Previous == leaderelection.PreviousNone {
		s.note(b.At, "became leader, term %v", b.Term.Token)
		return
	}
	after := map[string]string{
		leaderelection.PreviousReleased: "the Lease was released",
		leaderelection.PreviousExpired:  "the last renewal",
		leaderelection.PreviousDeleted:  "the Lease was deleted",
		leaderelection.PreviousOwn:      "an earlier claim of ours",
	}[b.Previous]
	s.note(b.At, "became leader, term %v, %v after %s", b.Term.Token, short(b.SincePrevious), after)
}

func (s *subject) ending(e leaderelection.TermStopping) {
	s.note(e.At, "term %v ends: %s", e.Term.Token, plain(e.Cause))
}

func (s *subject) ended(e leaderelection.TermEnded) {
	switch at := e.At.Add(e.StopTook); {
	case e.Overran:
		s.note(at, "the work of term %v has not stopped after %v: nothing is released", e.Term.Token, short(e.StopTook))
	case e.Released:
		s.note(at, "the work of term %v stopped after %v, and the Lease was released", e.Term.Token, short(e.StopTook))
	default:
		s.note(at, "the work of term %v stopped after %v", e.Term.Token, short(e.StopTook))
	}
}

// request notes when requests begin to fail, in another way than before, and when
// they succeed again.
func (s *subject) request(r leaderelection.Request) {
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
		s.note(r.Sent.Add(r.Took), "requests succeed again: %s", r.For)
	default:
		s.note(r.Sent.Add(r.Took), "requests fail: %s: %s", r.For, strings.ReplaceAll(kind, "_", " "))
	}
}

// plain is an error without the name of the package that it comes from.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "leaderelection: ") }

// short is a duration as people read it.
func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond / 10)
	}
	return d.Round(time.Second / 100)
}
