package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// samplesOf returns three samples for each implementation. The parameter medians
// contains the medians of the samples.
func samplesOf(medians map[string]float64) map[string][]float64 {
	samples := map[string][]float64{}
	for name, m := range medians {
		samples[name] = []float64{m * 1.5, m, m * 0.5}
	}
	return samples
}

// repeat repeats the given samples until there are n samples.
func repeat(n int, samples ...float64) []float64 {
	for len(samples) < n {
		samples = append(samples, samples...)
	}
	return samples[:n]
}

func repeatAll(n int, samples map[string][]float64) map[string][]float64 {
	for name, row := range samples {
		samples[name] = repeat(n, row...)
	}
	return samples
}

// missed returns the names of the figures whose target was measured and missed.
func missed(f figures) []string {
	var names []string
	for _, one := range f {
		if one.Target != nil && !one.Target.Met && one.Target.NotMeasured == "" {
			names = append(names, one.Name)
		}
	}
	return names
}

func TestHandoverFigures_HaveTargets(t *testing.T) {
	for name, c := range map[string]struct {
		ours   float64
		missed []string
	}{
		"as wanted":         {6, nil},
		"slow":              {8, []string{"median, as multiple of the limit's", "client-go's median, as multiple of it"}},
		"slow at its worst": {40, []string{"most", "median, as multiple of the limit's", "client-go's median, as multiple of it"}},
	} {
		f := handoverFigures(samplesOf(map[string]float64{limitName: 5, clientGo: 1000, incumbent: c.ours}), 3)
		if diff := cmp.Diff(c.missed, missed(f)); diff != "" {
			t.Errorf("%s: targets missed (-want +got):\n%s", name, diff)
		}
	}
}

// rolloutsOf returns results of rolling updates. handovers contains the
// numbers of handovers of this library's manager.
func rolloutsOf(handovers ...int) map[string][]rollout {
	rolls := map[string][]rollout{}
	for i := range rolloutRounds {
		rolls[incumbentMgr] = append(rolls[incumbentMgr], rollout{handovers: handovers[i%len(handovers)]})
		rolls[runtimeName] = append(rolls[runtimeName], rollout{handovers: 3})
	}
	return rolls
}

var goodFootprint = footprint{Heap: 96, Stack: 20, Goroutines: 8, Start: 3, Leading: manyElectors, Renewals: 29}

func TestFigures_HaveTargets(t *testing.T) {
	bad := footprint{Heap: 97, Goroutines: 8.1, Leading: manyElectors - 1, Lost: 1}
	crash := func(ours float64) map[string][]float64 {
		return repeatAll(crashRounds, samplesOf(map[string]float64{clientGo: 2500, incumbent: ours}))
	}
	herd := func(samples, bare, refused []float64) figures {
		return herdFigures(repeat(herdRounds, samples...), repeat(herdRounds, bare...), repeat(herdRounds, refused...))
	}
	for name, c := range map[string]struct {
		figures figures
		missed  []string
	}{
		"rollout, good":  {append(operatorFigures(operatorGroup, rolloutsOf(1, 1)), processFigures(rolloutsOf(1, 1))...), nil},
		"rollout, bad":   {append(operatorFigures(operatorGroup, rolloutsOf(1, 2)), processFigures(rolloutsOf(2, 1))...), []string{"handovers, most", "handovers, most"}},
		"crash, good":    {crashFigures(crash(30)), nil},
		"crash, bad":     {crashFigures(crash(40)), []string{"most"}},
		"requests, good": {requestFigures(map[string]float64{clientGo: 29, incumbent: 30}, map[string]float64{clientGo: 18, incumbent: 0}, nil), nil},
		"requests, bad": {requestFigures(map[string]float64{clientGo: 29, incumbent: 31}, map[string]float64{clientGo: 18, incumbent: 1}, nil),
			[]string{"idle follower, apart from its watch", "leader"}},
		"cpu, good":      {cpuFigures([]float64{900, 1100}, 1000+200*1.5, 1000+200*30), nil},
		"cpu, bad":       {cpuFigures([]float64{900, 1100}, 1000+200*1.6, 1000+200*30), []string{"per follower and minute"}},
		"herd, good":     {herd([]float64{12, 13}, []float64{10, 10}, []float64{1, 10}), nil},
		"herd, bad":      {herd([]float64{20, 51}, []float64{10, 10}, []float64{11, 1}), []string{"most", "median, as multiple of the limit's", "refused writes, most in a round"}},
		"electors, good": {electorFigures("", goodFootprint), nil},
		"electors, bad":  {electorFigures("", bad), []string{"heap, each", "goroutines, each", "leading", "terms lost"}},
	} {
		if diff := cmp.Diff(c.missed, missed(c.figures)); diff != "" {
			t.Errorf("%s: targets missed (-want +got):\n%s", name, diff)
		}
	}
}

// notMeasured returns why values and targets of this library were not measured. The key
// is the name of the figure.
func notMeasured(f figures) map[string]string {
	reasons := map[string]string{}
	for _, one := range f {
		for _, name := range []string{incumbent, incumbentMgr} {
			if reason, missing := one.NotMeasured[name]; missing {
				reasons[one.Name] = reason
			}
		}
		if one.Target != nil && one.Target.NotMeasured != "" {
			reasons[one.Name+", target"] = one.Target.NotMeasured
		}
	}
	return reasons
}

func TestFigures_WithoutSenseAreNotMeasured(t *testing.T) {
	const comparison = "the value to compare with was not measured"
	good := func(change func(*footprint)) figures {
		p := goodFootprint
		change(&p)
		return electorFigures("", p)
	}
	three := samplesOf(map[string]float64{limitName: 5, clientGo: 1000, incumbent: 6})
	fewer := samplesOf(map[string]float64{limitName: 5, clientGo: 1000})
	fewer[incumbent] = []float64{6}
	slowRow := map[string][]float64{limitName: three[limitName], incumbent: three[incumbent]}
	unanswered := repeatAll(crashRounds, samplesOf(map[string]float64{clientGo: 2500, incumbent: 30}))
	unanswered[incumbent] = nil
	for name, c := range map[string]struct {
		figures figures
		want    map[string]string
	}{
		"everything measured": {good(func(*footprint) {}), map[string]string{}},
		"negative heap": {good(func(p *footprint) { p.Heap = -24.1 }),
			map[string]string{"heap, each": "the result is negative (-24.1 KiB)", "heap, each, target": "the result is negative (-24.1 KiB)"}},
		"no goroutines": {good(func(p *footprint) { p.Goroutines = 0 }),
			map[string]string{"goroutines, each": "no goroutine was counted", "goroutines, each, target": "no goroutine was counted"}},
		"no writes":        {good(func(p *footprint) { p.Renewals = 0 }), map[string]string{"renewals, each per minute": "no write was counted"}},
		"not all led":      {good(func(p *footprint) { p.Leading = 7 }), map[string]string{"until all led": "only 7 of 1000 led"}},
		"too few samples":  {handoverFigures(fewer, 3)[3:4], map[string]string{"most": "1 of 3 samples", "most, target": "1 of 3 samples"}},
		"no samples":       {crashFigures(unanswered)[1:], map[string]string{"most": "0 of 10 samples", "most, target": "0 of 10 samples"}},
		"no comparison":    {handoverFigures(slowRow, 3)[5:], map[string]string{"client-go's median, as multiple of it": "a value that it depends on was not measured", "client-go's median, as multiple of it, target": "a value that it depends on was not measured"}},
		"no handover":      {processFigures(rolloutsOf(0))[1:], map[string]string{"handovers, most": "no handover was counted, although the leader was replaced", "handovers, most, target": "no handover was counted, although the leader was replaced"}},
		"silent follower":  {requestFigures(map[string]float64{clientGo: 29, incumbent: 29}, map[string]float64{clientGo: 18, incumbent: 0}, map[string]bool{incumbent: true})[:1], map[string]string{"idle follower, apart from its watch": "a follower sent no request, not even before the measurement", "idle follower, apart from its watch, target": "a follower sent no request, not even before the measurement"}},
		"leader is silent": {requestFigures(map[string]float64{clientGo: 29, incumbent: 0}, nil, nil)[1:], map[string]string{"leader": "no request was counted", "leader, target": "no request was counted"}},
		"client-go silent": {requestFigures(map[string]float64{clientGo: 0, incumbent: 29}, nil, nil)[1:], map[string]string{"leader, target": comparison}},
		"CPU below noise":  {cpuFigures([]float64{900, 1100}, 900, 7000)[:1], map[string]string{"per follower and minute": "the result is negative (-0.50 ms)", "per follower and minute, target": "the result is negative (-0.50 ms)"}},
		"CPU of client-go": {cpuFigures([]float64{900, 1100}, 1100, 900)[:1], map[string]string{"per follower and minute, target": comparison}},
		"no /proc":         {cpuNotMeasured("no /proc"), map[string]string{"per follower and minute": "no /proc"}},
		"fewer rounds":     {herdFigures([]float64{1}, repeat(herdRounds, 1), repeat(herdRounds, 0))[1:2], map[string]string{"most": "1 of 10 samples", "most, target": "1 of 10 samples"}},
		"herd, limit":      {herdFigures(repeat(herdRounds, 1), nil, repeat(herdRounds, 0))[2:3], map[string]string{"median, as multiple of the limit's": "a value that it depends on was not measured", "median, as multiple of the limit's, target": "a value that it depends on was not measured"}},
		"failed writes":    {fenceFigures("", "", map[string][]float64{limitName: {1, 1}, incumbent: {1}}, 2)[2:3], map[string]string{"median, as multiple of the limit's": "1 of 2 samples", "median, as multiple of the limit's, target": "1 of 2 samples"}},
	} {
		if diff := cmp.Diff(c.want, notMeasured(c.figures)); diff != "" {
			t.Errorf("%s: not measured (-want +got):\n%s", name, diff)
		}
		for _, one := range c.figures {
			for implementation, v := range one.Values {
				if math.IsNaN(v) || v < 0 {
					t.Errorf("%s: %s of %s is %v", name, one.Name, implementation, v)
				}
			}
			if one.Target != nil && one.Target.NotMeasured != "" && one.Target.Met {
				t.Errorf("%s: %s is met although it was not measured", name, one.Name)
			}
		}
		if _, err := json.Marshal(c.figures); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTable(t *testing.T) {
	const want = `              limit  client-go  controller-runtime  incumbent  incumbent manager   target

handover
  median, ms   5.60       1680                           6.44                     <= 7.28  met
  refused                                                  12                       <= 10  MISSED

memory
  heap, KiB                                                 ?                       <= 96  not measured: the result is negative (-24.1 KiB)
  stack, KiB                 ?                           23.0                       <= 96  met; client-go not measured: a value that it depends on was not measured
`
	var f figures
	f.add("handover", "median", "ms", map[string]float64{limitName: 5.6, clientGo: 1680.4, incumbent: 6.44})
	f.wantAtMost(7.28)
	f.add("handover", "refused", "", map[string]float64{incumbent: 12})
	f.wantAtMost(10)
	f.add("memory", "heap", "KiB", map[string]float64{incumbent: -24.1})
	f.wantAtMost(96)
	f.add("memory", "stack", "KiB", map[string]float64{incumbent: 23.04, clientGo: math.NaN()})
	f.wantAtMost(96)
	if diff := cmp.Diff(want, table(f)); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
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

func TestColumns_HaveEveryImplementation(t *testing.T) {
	for _, i := range implementations {
		if !slices.Contains(columns, i.name) {
			t.Errorf("the table has no column for %s", i.name)
		}
	}
}

func TestReport_IsWrittenAsJSONTableAndPlots(t *testing.T) {
	dir := t.TempDir()
	r := &report{
		Modules:  map[string]string{"k8s.io/client-go": "v0.35.0"},
		Samples:  samplesOf(map[string]float64{limitName: 5, clientGo: 1700, incumbent: 6}),
		Timeline: &timeline{Stopped: 0.1, ReleaseSent: 0.2, ReleaseAnswered: 3, Observed: 2.8, ClaimSent: 3, ClaimAnswered: 6, Started: 6.1},
	}
	r.Figures = append(handoverFigures(r.Samples, 3), electorFigures("", footprint{Heap: -1})...)
	if err := r.write(dir); err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal([]byte(readFile(t, dir, "results.json")), &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*r, back); diff != "" {
		t.Errorf("the JSON is different (-want +got):\n%s", diff)
	}
	if got := readFile(t, dir, "table.txt"); got != r.table() || !strings.Contains(got, "\nk8s.io/client-go v0.35.0\n") {
		t.Errorf("table.txt:\n%s", got)
	}
	for _, name := range []string{"handover.svg", "timeline.svg"} {
		wellFormed(t, readFile(t, dir, name))
	}
}
