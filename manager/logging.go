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

// slogOf converts l to a *slog.Logger for the Elector.
func slogOf(l logr.Logger) *slog.Logger { return slog.New(logr.ToSlogHandler(l)) }

// quiet returns the logger for the inner Manager. This logger drops the lines of
// controller-runtime's own election, because they would be misleading.
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

// Info passes the line to the embedded sink. This method adds a frame to the call
// stack, as the function quiet expects when it sets the call depth. Without this
// method, Go would call Info of the embedded sink directly, and the log would name a
// wrong caller.
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
