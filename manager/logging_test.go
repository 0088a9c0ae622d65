package manager

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
)

func TestQuiet_DropsTheLinesOfControllerRuntimesElection(t *testing.T) {
	var out bytes.Buffer
	l := quiet(logr.FromSlogHandler(slog.NewTextHandler(&out, nil)))
	l.WithName(electionName).Info("Attempting to acquire leader lease...")
	l.WithName(electionName).Error(errors.New("context canceled"), "Error retrieving lease lock")
	l.WithName(electionName).WithValues("a", 1).WithName("b").Error(nil, "deep down")
	l.Error(errors.New(lostMessage), "error received after stop sequence was engaged")
	if out.Len() > 0 {
		t.Errorf("these lines were let through: %s", out.String())
	}
	l.WithName("events").WithValues("a", 1).Info("one")
	l.Error(errors.New("another"), "two")
	l.Error(nil, "three")
	for _, want := range []string{"one", "two", "three", "a=1", "logger=events"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %s", want, out.String())
		}
	}
}

func TestQuiet_KeepsLevelAndCaller(t *testing.T) {
	var lines []string
	l := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{LogCaller: funcr.All, Verbosity: 2})
	l = quiet(l.V(1))
	l.Info("here")
	l.V(1).Info("here too")
	l.V(2).Info("too quiet")
	l.WithName("n").WithCallDepth(0).Error(nil, "and here")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3: %q", len(lines), lines)
	}
	for _, line := range lines {
		if !strings.Contains(line, `"file"="logging_test.go"`) {
			t.Errorf("the caller is not this file: %s", line)
		}
	}
}
