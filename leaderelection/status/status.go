package status

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/registry"
)

// maxChanges is how many changes the page keeps for each Elector.
const maxChanges = 30

// Page is an http.Handler that shows Electors. Create a Page with New.
type Page struct {
	electors registry.Registry[*history]
}

// New returns a Page. For each Elector, pass the result of Option to leaderelection.New.
func New() *Page { return &Page{} }

// Option returns an option for leaderelection.New. The option adds the new Elector to the
// page. The option may be passed to several Electors. The page shows an Elector until Run
// returns nil. If Run returns an error, the page shows the Elector and the error until an
// Elector for the same Lease runs.
func (p *Page) Option() leaderelection.Option {
	return p.electors.Option(func(e *registry.Entry[*history]) leaderelection.Trace {
		h := &history{}
		e.Data = h
		return leaderelection.Trace{
			Request: h.request, LeaderObserved: h.leaderObserved,
			TermStarted: h.termStarted, TermStopping: h.termStopping, TermEnded: h.termEnded,
		}
	})
}

// A history contains the most recent changes of an Elector.
type history struct {
	mu      sync.Mutex
	changes []Change          // the newest first
	failing map[string]string // the kind of the most recent failure, keyed by Request.For; empty after a success
}

// addChange adds a change. If there are more than maxChanges changes, addChange removes
// the oldest.
func (h *history) addChange(at time.Time, format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.changes = slices.Insert(h.changes, 0, Change{At: at, What: fmt.Sprintf(format, args...)})
	h.changes = h.changes[:min(len(h.changes), maxChanges)]
}

// list returns a copy of the changes.
func (h *history) list() []Change {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Change{}, h.changes...)
}

func (h *history) leaderObserved(identity string, at time.Time) {
	if identity == "" {
		h.addChange(at, "the Lease is free")
		return
	}
	h.addChange(at, "new leader observed: %s", identity)
}

func (h *history) termStarted(started leaderelection.TermStarted) {
	if started.Previous == leaderelection.PreviousNone {
		h.addChange(started.At, "became leader, term %v", started.Term.Token)
		return
	}
	event := map[string]string{
		leaderelection.PreviousReleased:   "the Lease was released",
		leaderelection.PreviousExpired:    "the previous leader's last renewal",
		leaderelection.PreviousTerminated: "the last renewal of the previous leader, whose container has terminated",
		leaderelection.PreviousDeleted:    "the Lease was deleted",
		leaderelection.PreviousOwn:        "an earlier claim of this process",
	}[started.Previous]
	h.addChange(started.At, "became leader, term %v, %v after %s", started.Term.Token, short(started.SincePrevious), event)
}

func (h *history) termStopping(stopping leaderelection.TermStopping) {
	h.addChange(stopping.At, "term %v ends: %s", stopping.Term.Token, withoutPackage(stopping.Cause))
}

func (h *history) termEnded(end leaderelection.TermEnded) {
	switch at := end.At.Add(end.StopTook); {
	case end.Overran:
		h.addChange(at, "the callbacks of term %v have not returned after %v: the Lease is not released", end.Term.Token, short(end.StopTook))
	case end.Released:
		h.addChange(at, "the callbacks of term %v returned after %v, and the Lease was released", end.Term.Token, short(end.StopTook))
	default:
		h.addChange(at, "the callbacks of term %v returned after %v", end.Term.Token, short(end.StopTook))
	}
}

// request adds a change when the result of requests of one kind changes: the requests
// start to fail, fail for another reason, or succeed again. The kind is r.For.
func (h *history) request(r leaderelection.Request) {
	kind := r.Failure
	switch kind {
	case leaderelection.FailureCanceled:
		return
	case "conflict":
		kind = ""
	}
	h.mu.Lock()
	before := h.failing[r.For]
	if h.failing == nil {
		h.failing = map[string]string{}
	}
	h.failing[r.For] = kind
	h.mu.Unlock()
	switch {
	case kind == before:
	case kind == "":
		h.addChange(r.Sent.Add(r.Took), "requests succeed again: %s", r.For)
	default:
		h.addChange(r.Sent.Add(r.Took), "requests fail: %s: %s", r.For, strings.ReplaceAll(kind, "_", " "))
	}
}

// withoutPackage returns the error's text without the prefix "leaderelection: ". It
// returns "" if err is nil.
func withoutPackage(err error) string {
	if err == nil {
		return ""
	}
	return strings.TrimPrefix(err.Error(), "leaderelection: ")
}

// short rounds a duration for display.
func short(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond / 10)
	}
	return d.Round(time.Second / 100)
}
