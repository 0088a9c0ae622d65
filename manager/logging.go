package manager

import (
	"log/slog"

	"github.com/go-logr/logr"
)

// electionName is the name of the logger that controller-runtime's own election uses.
const electionName = "leaderelection"

// lostMessage is the text of an error that controller-runtime logs at the end of each
// orderly stop. This error is misleading, because no leadership was lost. If leadership
// is actually lost, the Elector logs the loss.
const lostMessage = "leader election lost"

func slogOf(l logr.Logger) *slog.Logger { return slog.New(logr.ToSlogHandler(l)) }

// quiet returns the logger for the inner Manager. This logger drops the
// misleading log lines of controller-runtime's own election.
func quiet(l logr.Logger) logr.Logger {
	return logr.New(quietSink{LogSink: l.WithCallDepth(1).GetSink()}).V(l.GetV())
}

// A quietSink is a LogSink that drops the lines of controller-runtime's own election.
type quietSink struct {
	logr.LogSink
	election bool // true if this sink belongs to the logger of controller-runtime's own election
}

// Init does nothing, because the embedded sink is already initialised.
func (s quietSink) Init(logr.RuntimeInfo) {}

func (s quietSink) Enabled(level int) bool {
	return !s.election && s.LogSink.Enabled(level)
}

// Info passes the line to the embedded sink. Do not remove this method. Without it, the
// log would name a wrong caller, because quiet sets the call depth for
// this method.
func (s quietSink) Info(level int, msg string, keysAndValues ...any) {
	s.LogSink.Info(level, msg, keysAndValues...)
}

func (s quietSink) Error(err error, msg string, keysAndValues ...any) {
	if s.election || err != nil && err.Error() == lostMessage {
		return
	}
	s.LogSink.Error(err, msg, keysAndValues...)
}

func (s quietSink) WithName(name string) logr.LogSink {
	return quietSink{s.LogSink.WithName(name), s.election || name == electionName}
}

func (s quietSink) WithValues(keysAndValues ...any) logr.LogSink {
	return quietSink{s.LogSink.WithValues(keysAndValues...), s.election}
}

func (s quietSink) WithCallDepth(depth int) logr.LogSink {
	if sink, ok := s.LogSink.(logr.CallDepthLogSink); ok {
		return quietSink{sink.WithCallDepth(depth), s.election}
	}
	return s
}
