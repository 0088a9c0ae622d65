package lab

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func readAll(t *testing.T, out *bytes.Buffer) (events []Event, kinds []Kind) {
	t.Helper()
	if err := ReadEvents(out, func(e Event) { events, kinds = append(events, e), append(kinds, e.Kind) }); err != nil {
		t.Fatal(err)
	}
	return events, kinds
}

func TestSampler_FrozenReplicaReportsWhenItLedLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out := &bytes.Buffer{}
		began, calls := time.Now(), 0
		isLeader := func() bool {
			calls++
			if calls == 11 {
				time.Sleep(20 * time.Second) // simulates a process that is frozen during the call
			}
			return calls <= 10
		}
		go func() {
			time.Sleep(30 * time.Second)
			cancel()
		}()
		Sampler{IsLeader: isLeader, Events: &Reporter{Replica: "a-1", Out: out}}.Run(ctx)
		events, _ := readAll(t, out)
		if len(events) != 3 || events[0].Kind != Leads || events[1].Kind != Led || events[2].Kind != Woke {
			t.Fatalf("events = %v, want leads, led and woke", events)
		}
		if last := events[1].At.Sub(began); last != 9*SamplePeriod {
			t.Errorf("it led last at %v, want at the last call that returned true, %v", last, 9*SamplePeriod)
		}
	})
}

// After a freeze, a Manager that has lost its Lease stops within about one millisecond.
// The Sampler must still report the freeze.
func TestSampler_ReportsTheGapAlsoIfTheProcessEndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		out, calls, late := &bytes.Buffer{}, 0, false
		isLeader := func() bool {
			if calls++; calls == 3 {
				cancel()
				time.Sleep(20 * time.Second)
			}
			return true
		}
		Sampler{IsLeader: isLeader, Events: &Reporter{Replica: "a-1", Out: out}, AfterFreeze: func() { late = true }}.Run(ctx)
		if _, got := readAll(t, out); !slices.Equal(got, []Kind{Leads, Woke, Led}) {
			t.Errorf("events = %q, want leads, woke and led", got)
		}
		if !late {
			t.Error("AfterFreeze was not called")
		}
	})
}

func TestReadEvents_IgnoresALineThatAKillCutOff(t *testing.T) {
	if events, _ := readAll(t, bytes.NewBufferString(`{"kind":"leads"}`+"\n"+`{"kind":"l`)); len(events) != 1 {
		t.Errorf("events = %v, want one", events)
	}
	if err := ReadEvents(bytes.NewBufferString("nonsense\n"), func(Event) {}); err == nil {
		t.Error("a line that is no event is not an error")
	}
}

func TestDecodeEntries_ReportsWhereTheLedgerIsDamaged(t *testing.T) {
	entries, err := decodeEntries(`{"replica":"a","term":"7","seq":1}` + "\n" + `{"replica"`)
	if err == nil || len(entries) != 0 {
		t.Errorf("decodeEntries() = %v, %v, want an error", entries, err)
	}
}
