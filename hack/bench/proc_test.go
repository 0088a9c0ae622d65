package main

import (
	"errors"
	"os"
	"testing"
	"time"
)

func TestParseStat_AcceptsParenthesesInTheName(t *testing.T) {
	const text = "4711 (kube) (api server) S 42 4711 4711 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 9 0 100 1578104 276280"
	want := procStat{pid: 4711, parent: 42, name: "kube) (api server", cpu: 3 * time.Second}
	if got, err := parseStat(text); err != nil || got != want {
		t.Errorf("parseStat() = %+v, %v, want %+v", got, err, want)
	}
	for _, nonsense := range []string{"", "1 (x", "1 (x) S 2", "1 (x) S 2 3 4 5 6 7 8 9 10 11 12 a 14"} {
		if p, err := parseStat(nonsense); err == nil {
			t.Errorf("parseStat(%q) = %+v, want an error", nonsense, p)
		}
	}
}

func TestCPUTime_OfThisProcess(t *testing.T) {
	if _, err := childNamed("no such program"); errors.Is(err, errNoProc) {
		t.Skip(err)
	} else if err == nil {
		t.Error("a child that does not exist was found")
	}
	for began := time.Now(); time.Since(began) < 10*time.Second; {
		if used, err := cpuTime(os.Getpid()); err != nil {
			t.Fatal(err)
		} else if used > 0 {
			return
		}
	}
	t.Error("ten seconds of work have used no CPU time")
}
