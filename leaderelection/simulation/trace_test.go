package simulation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// What a report shows of a trace: lines of that length, from some time before
// the violation to shortly after.
const (
	maxLine = 230
	before  = time.Minute
	after   = time.Second
)

// trace is what happened in one run of a schedule, line by line.
type trace struct {
	mu    sync.Mutex
	start time.Time
	lines []line
}

type line struct {
	at   time.Time
	text string
}

func (tr *trace) addf(who, format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, line{time.Now(), fmt.Sprintf("%-10s %s", who, fmt.Sprintf(format, args...))})
}

// around returns what happened up to a moment, with the writes that the server
// applied between the other lines.
func (tr *trace) around(at time.Time, writes []leaderelectiontest.Write) string {
	tr.mu.Lock()
	lines := slices.Clone(tr.lines)
	tr.mu.Unlock()
	for _, w := range writes {
		lines = append(lines, line{w.Time, fmt.Sprintf("%-10s %s", w.Client, wrote(w))})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	var out []string
	for i, l := range lines {
		if i > 0 && i < len(lines)-1 && l.isRenewal() && lines[i-1].text == l.text && lines[i+1].text == l.text {
			continue // the first and the last of a row are enough
		}
		if l.at.After(at.Add(-before)) && !l.at.After(at.Add(after)) {
			text := l.text
			if len(text) > maxLine {
				text = text[:maxLine] + "..."
			}
			out = append(out, fmt.Sprintf("%9.3f  %s", l.at.Sub(tr.start).Seconds(), text))
		}
	}
	return strings.Join(out, "\n")
}

const renews = "RENEWS"

// wrote says what a write did. Renewals of one holder are all alike.
func wrote(w leaderelectiontest.Write) string {
	holder := leaderelectiontest.Holder(w.After)
	sameSpec := w.Before != nil && w.After != nil && equality.Semantic.DeepEqual(w.Before.Spec, w.After.Spec)
	switch {
	case sameSpec:
		return "WRITES metadata " + w.String()
	case holder != "" && holder == leaderelectiontest.Holder(w.Before):
		return renews
	default:
		return "WRITES " + w.String()
	}
}

func (l line) isRenewal() bool { return strings.HasSuffix(l.text, renews) }

// logger returns a logger whose lines land in the trace.
func (tr *trace) logger(who string) *slog.Logger { return slog.New(&traceHandler{trace: tr, who: who}) }

type traceHandler struct {
	trace *trace
	who   string
	attrs string
}

// Enabled lets pass what changes state, and what each request says.
func (h *traceHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle writes one line.
func (h *traceHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString("log: " + r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + a.String())
		return true
	})
	h.trace.addf(h.who, "%s", line.String())
	return nil
}

// WithAttrs drops what every line of an elector says.
func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		if a.Key != "lease" && a.Key != "identity" {
			with.attrs += " " + a.String()
		}
	}
	return &with
}

// WithGroup needs nothing: names are told apart well enough.
func (h *traceHandler) WithGroup(string) slog.Handler { return h }
