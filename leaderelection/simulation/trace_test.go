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

// An excerpt is the part of a trace before and after a violation. The constants
// excerptBefore and excerptAfter limit the length of this part. maxLineLength is
// in bytes.
const (
	maxLineLength = 230
	excerptBefore = time.Minute
	excerptAfter  = time.Second
)

// A trace records the events of one run of a schedule as lines.
type trace struct {
	mu    sync.Mutex
	start time.Time
	lines []traceLine
}

type traceLine struct {
	at   time.Time
	text string
}

func (tr *trace) addf(source, format string, args ...any) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.lines = append(tr.lines, traceLine{time.Now(), fmt.Sprintf("%-10s %s", source, fmt.Sprintf(format, args...))})
}

// excerpt returns the lines of the trace shortly before and after a violation. at is
// the time of the violation. writes contains the writes that the server accepted. For
// each write, excerpt adds a line.
func (tr *trace) excerpt(at time.Time, writes []leaderelectiontest.Write) string {
	tr.mu.Lock()
	lines := slices.Clone(tr.lines)
	tr.mu.Unlock()
	for _, w := range writes {
		lines = append(lines, traceLine{w.Time, fmt.Sprintf("%-10s %s", w.Client, describeWrite(w))})
	}
	slices.SortStableFunc(lines, func(a, b traceLine) int { return a.at.Compare(b.at) })
	var out []string
	for i, l := range lines {
		if i > 0 && i < len(lines)-1 && l.isRenewal() && lines[i-1].text == l.text && lines[i+1].text == l.text {
			continue // show only the first and the last of consecutive equal renewals
		}
		if l.at.After(at.Add(-excerptBefore)) && !l.at.After(at.Add(excerptAfter)) {
			text := l.text
			if len(text) > maxLineLength {
				text = text[:maxLineLength] + "..."
			}
			out = append(out, fmt.Sprintf("%9.3f  %s", l.at.Sub(tr.start).Seconds(), text))
		}
	}
	return strings.Join(out, "\n")
}

const renewal = "RENEWS"

// describeWrite returns the description of a write in the trace. All renewals get
// the same description, so that excerpt can omit repeated renewals.
func describeWrite(w leaderelectiontest.Write) string {
	holder := leaderelectiontest.Holder(w.After)
	sameSpec := w.Before != nil && w.After != nil && equality.Semantic.DeepEqual(w.Before.Spec, w.After.Spec)
	switch {
	case sameSpec:
		return "WRITES metadata " + w.String()
	case holder != "" && holder == leaderelectiontest.Holder(w.Before):
		return renewal
	default:
		return "WRITES " + w.String()
	}
}

func (l traceLine) isRenewal() bool { return strings.HasSuffix(l.text, renewal) }

// logger returns a logger that writes into the trace.
func (tr *trace) logger(source string) *slog.Logger {
	return slog.New(&traceHandler{trace: tr, source: source})
}

type traceHandler struct {
	trace  *trace
	source string
	attrs  string
}

// Enabled reports whether the level is Info or above.
func (h *traceHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo
}

// Handle adds one line to the trace.
func (h *traceHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString("log: " + r.Message + h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + a.String())
		return true
	})
	h.trace.addf(h.source, "%s", line.String())
	return nil
}

// WithAttrs drops the attributes lease and identity, because they have the same
// values in all lines of a replica.
func (h *traceHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		if a.Key != "lease" && a.Key != "identity" {
			with.attrs += " " + a.String()
		}
	}
	return &with
}

// WithGroup ignores groups.
func (h *traceHandler) WithGroup(string) slog.Handler { return h }
