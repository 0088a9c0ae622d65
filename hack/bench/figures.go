package main

import (
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A figure is one line of the table that the benchmark prints.
type figure struct {
	Group  string             `json:"group"`
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`
	Values map[string]float64 `json:"values"` // the values, keyed by the name of the implementation
	// NotMeasured contains the reason why a value is missing, keyed by the name of the
	// implementation.
	NotMeasured map[string]string `json:"notMeasured,omitempty"`
	Target      *target           `json:"target,omitempty"`
}

// A target is a condition for this library's value in a figure, for instance "at most
// 50".
type target struct {
	Relation string  `json:"relation"` // "<=" or ">="
	Value    float64 `json:"value"`
	Met      bool    `json:"met"`
	// NotMeasured is the reason why the target was not evaluated. NotMeasured is empty
	// if the target was evaluated.
	NotMeasured string `json:"notMeasured,omitempty"`
}

// figures are the lines of the table, from top to bottom.
type figures []figure

// add adds a figure without a target. A value that is negative, infinite or NaN counts
// as not measured.
func (f *figures) add(group, name, unit string, values map[string]float64) {
	*f = append(*f, figure{Group: group, Name: name, Unit: unit, Values: maps.Clone(values)})
	for implementation, v := range values {
		switch {
		case math.IsNaN(v) || math.IsInf(v, 0):
			f.notMeasured(implementation, "a value that it depends on was not measured")
		case v < 0:
			f.notMeasured(implementation, fmt.Sprintf("the result is negative (%s)", strings.TrimSpace(lab.Number(v)+" "+unit)))
		}
	}
}

// addSamples adds a figure without a target. statistic computes the value
// of an implementation from the samples. A value counts as not measured if there are
// fewer samples than the parameter minimum.
func (f *figures) addSamples(group, name, unit string, samples map[string][]float64, minimum int, statistic func(summary) float64) {
	values := map[string]float64{}
	for implementation, row := range samples {
		values[implementation] = statistic(summarize(row))
	}
	f.add(group, name, unit, values)
	for implementation, row := range samples {
		if len(row) < minimum {
			f.notMeasured(implementation, fmt.Sprintf("%d of %d samples", len(row), minimum))
		}
	}
}

// notMeasured removes the value of an implementation from the last figure. It stores
// the reason in the figure.
func (f figures) notMeasured(implementation, reason string) {
	last := &f[len(f)-1]
	delete(last.Values, implementation)
	if last.NotMeasured == nil {
		last.NotMeasured = map[string]string{}
	}
	last.NotMeasured[implementation] = reason
}

// wantPositive marks each value of the last figure that is zero as not measured. Call
// wantPositive if a zero means that the measurement failed.
func (f figures) wantPositive(reason string) {
	for implementation, v := range f[len(f)-1].Values {
		if v == 0 {
			f.notMeasured(implementation, reason)
		}
	}
}

// wantAtMost sets a target for the last figure. The value must be at most the parameter
// maximum.
func (f figures) wantAtMost(maximum float64) {
	f.want("<=", maximum, func(v float64) bool { return v <= maximum })
}

// wantAtLeast sets a target for the last figure. The value must be at least the
// parameter minimum.
func (f figures) wantAtLeast(minimum float64) {
	f.want(">=", minimum, func(v float64) bool { return v >= minimum })
}

func (f figures) want(relation string, limit float64, met func(float64) bool) {
	last := &f[len(f)-1]
	last.Target = &target{Relation: relation, Value: limit}
	if math.IsNaN(limit) || limit < 0 {
		last.Target.Value, last.Target.NotMeasured = 0, "the value to compare with was not measured"
		return
	}
	// The target applies to this library's Elector. In a figure without the Elector,
	// the target applies to this library's manager.
	for _, implementation := range []string{incumbent, incumbentMgr} {
		if reason, missing := last.NotMeasured[implementation]; missing {
			last.Target.NotMeasured = reason
			return
		}
		if v, ok := last.Values[implementation]; ok {
			last.Target.Met = met(v)
			return
		}
	}
	last.Target.NotMeasured = "there is no value"
}

func minOf(s summary) float64    { return s.Min }
func medianOf(s summary) float64 { return s.Median }
func p99Of(s summary) float64    { return s.P99 }
func maxOf(s summary) float64    { return s.Max }

// medianOrNaN returns the median of the samples. It returns NaN if there are fewer
// samples than the parameter minimum.
func medianOrNaN(samples []float64, minimum int) float64 {
	if len(samples) < minimum {
		return math.NaN()
	}
	return summarize(samples).Median
}

func handoverFigures(samples map[string][]float64, rounds int) (f figures) {
	group := fmt.Sprintf("graceful handover, one leader and two followers, %v, %d rounds", defaultTiming, rounds)
	f.addSamples(group, "least", "ms", samples, rounds, minOf)
	f.addSamples(group, "median", "ms", samples, rounds, medianOf)
	f.addSamples(group, "99 %", "ms", samples, rounds, p99Of)
	f.addSamples(group, "most", "ms", samples, rounds, maxOf)
	f.wantAtMost(50)
	limit, slow := medianOrNaN(samples[limitName], rounds), medianOrNaN(samples[clientGo], rounds)
	f.addSamples(group, "median, as multiple of the limit's", "", samples, rounds, func(s summary) float64 { return s.Median / limit })
	f.wantAtMost(1.3)
	f.addSamples(group, "client-go's median, as multiple of it", "", samples, rounds, func(s summary) float64 { return slow / s.Median })
	f.wantAtLeast(150)
	return f
}

// The groups of the figures about rolling updates of operators.
var (
	operatorGroup = fmt.Sprintf("rolling update of a three-replica operator, %v, %d rounds", defaultTiming, rolloutRounds)
	adoptedGroup  = "the same, if only the call that creates the Manager was changed"
)

// operatorFigures returns the figures about rolling updates of operators. The figures
// are the time without reconciliation and the number of handovers.
func operatorFigures(group string, rolls map[string][]rollout) (f figures) {
	idle := map[string][]float64{}
	for name, rounds := range rolls {
		for _, r := range rounds {
			idle[name] = append(idle[name], lab.Milliseconds(r.idle))
		}
	}
	f.addSamples(group, "time without reconciliation, median of an update", "ms", idle, rolloutRounds, medianOf)
	f.addSamples(group, "time without reconciliation, most", "ms", idle, rolloutRounds, maxOf)
	return append(f, handoverCounts(group, rolls)...)
}

// processFigures returns the figures about the number of handovers in rolling updates
// that stop the leader first.
func processFigures(rolls map[string][]rollout) figures {
	return handoverCounts(fmt.Sprintf("rolling update of %d replicas that stops the leader first, %v, %d rounds", processGroupSize, defaultTiming, rolloutRounds), rolls)
}

func handoverCounts(group string, rolls map[string][]rollout) (f figures) {
	counts := map[string][]float64{}
	for name, rounds := range rolls {
		for _, r := range rounds {
			counts[name] = append(counts[name], float64(r.handovers))
		}
	}
	const none = "no handover was counted, although the leader was replaced"
	f.addSamples(group, "handovers, median of an update", "", counts, rolloutRounds, medianOf)
	f.wantPositive(none)
	f.addSamples(group, "handovers, most", "", counts, rolloutRounds, maxOf)
	f.wantPositive(none)
	f.wantAtMost(1)
	return f
}

func crashFigures(samples map[string][]float64) (f figures) {
	group := fmt.Sprintf("takeover after a crash, time after the Lease expired, %v, %d rounds", crashTiming, crashRounds)
	f.addSamples(group, "median", "ms", samples, crashRounds, medianOf)
	f.addSamples(group, "most", "ms", samples, crashRounds, maxOf)
	f.wantAtMost(50)
	return f
}

func proofFigures(times []float64) (f figures) {
	group := fmt.Sprintf("takeover after a crash with proof of death, time after the kubelet's report, %v, %d rounds", defaultTiming, proofRounds)
	samples := map[string][]float64{incumbent: times}
	f.addSamples(group, "median", "ms", samples, proofRounds, medianOf)
	f.addSamples(group, "most", "ms", samples, proofRounds, maxOf)
	f.wantAtMost(50)
	return f
}

// requestFigures returns the figures about the requests of leaders and followers. The
// key of each map is the name of an implementation. In the parameter silent, a value is
// true if a follower sent no request before the measurement.
func requestFigures(leaders, followers map[string]float64, silent map[string]bool) (f figures) {
	group := fmt.Sprintf("requests per minute, %v", defaultTiming)
	f.add(group, "idle follower, apart from its watch", "", followers)
	for implementation := range followers {
		if silent[implementation] {
			f.notMeasured(implementation, "a follower sent no request, not even before the measurement")
		}
	}
	f.wantAtMost(0)
	f.add(group, "leader", "", leaders)
	f.wantPositive("no request was counted")
	limit := math.NaN()
	if v, ok := f[len(f)-1].Values[clientGo]; ok {
		limit = v + 1 // the number of renewals per minute can vary by one
	}
	f.wantAtMost(limit)
	return f
}

var cpuGroup = fmt.Sprintf("CPU time of the API server, %d idle followers, %v", cpuFollowers, defaultTiming)

func cpuFigures(base []float64, watching, polling float64) (f figures) {
	followers := map[string]float64{
		incumbent: (watching - mean(base)) / cpuFollowers,
		clientGo:  (polling - mean(base)) / cpuFollowers,
	}
	f.add(cpuGroup, "per follower and minute", "ms", followers)
	f.wantAtMost(followers[clientGo] / 20)
	f.add(cpuGroup, "with a leader only, per minute", "ms", map[string]float64{incumbent: base[0], clientGo: base[1]})
	f.wantPositive("no CPU time was counted")
	return f
}

func cpuNotMeasured(reason string) (f figures) {
	f.add(cpuGroup, "per follower and minute", "ms", nil)
	f.notMeasured(incumbent, reason)
	return f
}

func herdFigures(samples, bare, refused []float64) (f figures) {
	group := fmt.Sprintf("graceful handover, one leader and %d followers, %d rounds", herdSize, herdRounds)
	both := map[string][]float64{incumbent: samples, limitName: bare}
	f.addSamples(group, "median", "ms", both, herdRounds, medianOf)
	f.addSamples(group, "most", "ms", both, herdRounds, maxOf)
	f.wantAtMost(50)
	limit := medianOrNaN(bare, herdRounds)
	f.addSamples(group, "median, as multiple of the limit's", "", both, herdRounds, func(s summary) float64 { return s.Median / limit })
	f.wantAtMost(1.3)
	f.addSamples(group, "refused writes, most in a round", "", map[string][]float64{incumbent: refused}, herdRounds, maxOf)
	f.wantAtMost(10)
	return f
}

func electorFigures(kind string, p footprint) (f figures) {
	group := fmt.Sprintf("%d electors in one process, %s, one clientset", manyElectors, kind)
	add := func(name, unit string, value float64) { f.add(group, name, unit, map[string]float64{incumbent: value}) }
	add("heap, each", "KiB", p.Heap)
	f.wantPositive("the heap did not grow")
	f.wantAtMost(96)
	add("stacks, each", "KiB", p.Stack)
	f.wantPositive("the stacks did not grow")
	add("goroutines, each", "", p.Goroutines)
	f.wantPositive("no goroutine was counted")
	f.wantAtMost(8)
	add("until all led", "s", p.Start)
	if p.Leading < manyElectors {
		f.notMeasured(incumbent, fmt.Sprintf("only %.0f of %d led", p.Leading, manyElectors))
	}
	add("leading", "", p.Leading)
	f.wantAtLeast(manyElectors)
	add("terms lost", "", p.Lost)
	f.wantAtMost(0)
	add("renewals, each per minute", "", p.Renewals)
	f.wantPositive("no write was counted")
	return f
}
