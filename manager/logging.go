package manager

import (
	"log/slog"

	"github.com/go-logr/logr"
)

// electionName is the name under which controller-runtime's election logs.
const electionName = "leaderelection"

// lostMessage is the error that controller-runtime logs at the end of each clean
// stop. What it is meant for, a loss, is told by our Elector.
const lostMessage = "leader election lost"

// slogOf is l for our Elector, whose lines name the Lease.
func slogOf(l logr.Logger) *slog.Logger { return slog.New(logr.ToSlogHandler(l)) }

// quiet returns l without what is not true of a Manager whose election is ours.
// It is for controller-runtime's own lines only.
func quiet(l logr.Logger) logr.Logger {
	return logr.New(quietSink{LogSink: l.WithCallDepth(1).GetSink()}).V(l.GetV())
}

// A quietSink drops the lines of the election that is held at our gate.
type quietSink struct {
	logr.LogSink
	election bool // what is logged through it comes from that election
}

// Init does nothing: the sink inside was initialised by the logger it was taken
// from.
func (s quietSink) Init(logr.RuntimeInfo) {}

func (s quietSink) Enabled(level int) bool {
	return !s.election && s.LogSink.Enabled(level)
}

// Info is not left to the sink inside: each line passes through one frame of ours,
// which quiet has accounted for.
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
