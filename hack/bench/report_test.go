package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// samplesOf has for each contender three samples around a median.
func samplesOf(medians map[string]float64) map[string][]float64 {
	samples := map[string][]float64{}
	for name, m := range medians {
		samples[name] = []float64{m * 1.5, m, m * 0.5}
	}
	return samples
}

// missed are the names of the figures whose target was not met.
func missed(f figures) []string {
	var names []string
	for _, one := range f {
		if one.Target != nil && !one.Target.Met {
			names = append(names, one.Name)
		}
	}
	return names
}

func TestHandoverFigures_KnowTheirTargets(t *testing.T) {
	for name, c := range map[string]struct {
		ours   float64
		missed []string
	}{
		"as wanted":         {6, nil},
		"slow":              {8, []string{"median, as multiple of the limit's", "client-go's median, as multiple of it"}},
		"slow at its worst": {40, []string{"most", "median, as multiple of the limit's", "client-go's median, as multiple of it"}},
	} {
		f := handoverFigures(samplesOf(map[string]float64{limitName: 5, clientGo: 1000, incumbent: c.ours}))
		if diff := cmp.Diff(c.missed, missed(f)); diff != "" {
			t.Errorf("%s: targets missed (-want +got):\n%s", name, diff)
		}
	}
}

// rolloutsOf is two updates of the manager, with that many handovers.
func rolloutsOf(first, second int) map[string][]rollout {
	return map[string][]rollout{incumbentMgr: {{handovers: first}, {handovers: second}}, runtimeName: {{handovers: 3}}}
}

func TestFigures_KnowTheirTargets(t *testing.T) {
	good, bad := footprint{heap: 96, goroutines: 8, leading: manyElectors}, footprint{heap: 97, goroutines: 8.1, leading: manyElectors - 1, lost: 1}
	for name, c := range map[string]struct {
		figures figures
		missed  []string
	}{
		"rollout, good":  {append(operatorFigures(rolloutsOf(1, 1)), fleetFigures(rolloutsOf(1, 1))...), nil},
		"rollout, bad":   {append(operatorFigures(rolloutsOf(1, 2)), fleetFigures(rolloutsOf(2, 1))...), []string{"handovers, most", "handovers, most"}},
		"crash, good":    {crashFigures(samplesOf(map[string]float64{clientGo: 2500, incumbent: 30})), nil},
		"crash, bad":     {crashFigures(samplesOf(map[string]float64{clientGo: 2500, incumbent: 40})), []string{"most"}},
		"requests, good": {requestFigures(map[string]float64{clientGo: 29, incumbent: 30}, map[string]float64{clientGo: 18, incumbent: 0}), nil},
		"requests, bad": {requestFigures(map[string]float64{clientGo: 29, incumbent: 31}, map[string]float64{clientGo: 18, incumbent: 1}),
			[]string{"idle follower, beside its watch", "leader"}},
		"cpu, good":   {cpuFigures([]float64{900, 1100}, 1000+200*1.5, 1000+200*30), nil},
		"cpu, bad":    {cpuFigures([]float64{900, 1100}, 1000+200*1.6, 1000+200*30), []string{"for each follower, in a minute"}},
		"herd, good":  {herdFigures([]float64{12, 13}, []float64{10, 10}, []float64{1, 10}), nil},
		"herd, bad":   {herdFigures([]float64{20, 51}, []float64{10, 10}, []float64{11, 1}), []string{"most", "median, as multiple of the limit's", "refused writes, most in a round"}},
		"crowd, good": {crowdFigures("", good), nil},
		"crowd, bad":  {crowdFigures("", bad), []string{"heap, each", "goroutines, each", "leading", "terms lost"}},
	} {
		if diff := cmp.Diff(c.missed, missed(c.figures)); diff != "" {
			t.Errorf("%s: targets missed (-want +got):\n%s", name, diff)
		}
	}
}

func TestTable(t *testing.T) {
	const want = `              limit  client-go  controller-runtime  incumbent  incumbent manager   target

handover
  median, ms   5.60       1680                           6.44                     <= 7.28  met
  refused                                                  12                       <= 10  MISSED

memory
  heap, KiB                                              23.0
`
	var f figures
	f.add("handover", "median", "ms", map[string]float64{limitName: 5.6, clientGo: 1680.4, incumbent: 6.44})
	f.wantAtMost(7.28)
	f.add("handover", "refused", "", map[string]float64{incumbent: 12})
	f.wantAtMost(10)
	f.add("memory", "heap", "KiB", map[string]float64{incumbent: 23.04})
	if diff := cmp.Diff(want, table(f)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestNumber_ShowsThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 30: "30", 1000: "1000", 0.1234: "0.12", 9.994: "9.99", 9.996: "10.0", 99.94: "99.9", 99.96: "100", 1680.6: "1681", -0.5: "-0.50",
	} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(""); err != nil || len(all) != len(parts) {
		t.Errorf("choose(\"\") = %d parts, %v, want all", len(all), err)
	}
	chosen, err := choose("herd, handover")
	if err != nil {
		t.Fatal(err)
	}
	if len(chosen) != 2 || chosen[0].name != "herd" || chosen[1].name != "handover" {
		t.Errorf("chosen: %v", chosen)
	}
	if _, err := choose("herd,nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a part that does not exist: %v", err)
	}
}

func TestColumns_HaveEveryContender(t *testing.T) {
	for _, c := range contenders {
		if !slices.Contains(columns, c.name) {
			t.Errorf("the table has no column for %s", c.name)
		}
	}
}

func TestReport_IsWrittenAsJSONTableAndPlots(t *testing.T) {
	dir := t.TempDir()
	r := &report{
		Samples:  samplesOf(map[string]float64{limitName: 5, clientGo: 1700, incumbent: 6}),
		Timeline: &timeline{Stopped: 0.1, ReleaseSent: 0.2, ReleaseAnswered: 3, Heard: 2.8, ClaimSent: 3, ClaimAnswered: 6, Started: 6.1},
	}
	r.Figures = handoverFigures(r.Samples)
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal([]byte(readFile(t, dir, "results.json")), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*r, back); diff != "" {
		t.Errorf("what was read back is something else (-want +got):\n%s", diff)
	}
	if got := readFile(t, dir, "table.txt"); got != table(r.Figures) {
		t.Errorf("table.txt:\n%s", got)
	}
	for _, name := range []string{"handover.svg", "timeline.svg"} {
		wellFormed(t, readFile(t, dir, name))
	}
}
