package main

import (
	"fmt"
	"slices"
	"time"
)

// A report is the outcome of one run.
type report struct {
	Date       time.Time            `json:"date"`
	Kubernetes string               `json:"kubernetes"`
	Go         string               `json:"go"`
	CPUs       int                  `json:"cpus"`
	Figures    figures              `json:"figures"`
	Samples    map[string][]float64 `json:"handoverMilliseconds,omitempty"` // by contender, in order
	Timeline   *timeline            `json:"timeline,omitempty"`
}

// A figure is one line of the table.
type figure struct {
	Group  string             `json:"group"`
	Name   string             `json:"name"`
	Unit   string             `json:"unit"`
	Values map[string]float64 `json:"values"` // by contender
	Target *target            `json:"target,omitempty"`
}

// A target is what is wanted of Incumbent.
type target struct {
	Relation string  `json:"relation"` // "<=" or ">="
	Value    float64 `json:"value"`
	Met      bool    `json:"met"`
}

// figures are lines of the table, in order.
type figures []figure

// add adds a figure without a target.
func (f *figures) add(group, name, unit string, values map[string]float64) {
	*f = append(*f, figure{Group: group, Name: name, Unit: unit, Values: values})
}

// wantAtMost puts a target on the last figure.
func (f figures) wantAtMost(limit float64) {
	last := &f[len(f)-1]
	last.Target = &target{"<=", limit, last.ours() <= limit}
}

// wantAtLeast puts a target on the last figure.
func (f figures) wantAtLeast(limit float64) {
	last := &f[len(f)-1]
	last.Target = &target{">=", limit, last.ours() >= limit}
}

// ours is Incumbent's value: that of the Elector alone, if it took part.
func (f figure) ours() float64 {
	if v, ok := f.Values[incumbent]; ok {
		return v
	}
	return f.Values[incumbentMgr]
}

// each makes a value of each contender's samples.
func each(samples map[string][]float64, value func(summary) float64) map[string]float64 {
	values := map[string]float64{}
	for name, row := range samples {
		values[name] = value(summarize(row))
	}
	return values
}

func minOf(s summary) float64    { return s.Min }
func medianOf(s summary) float64 { return s.Median }
func p99Of(s summary) float64    { return s.P99 }
func maxOf(s summary) float64    { return s.Max }

func handoverFigures(samples map[string][]float64) (f figures) {
	group := fmt.Sprintf("graceful handover, one leader and two followers, %v, %d rounds", defaultPace, len(samples[limitName]))
	f.add(group, "least", "ms", each(samples, minOf))
	f.add(group, "median", "ms", each(samples, medianOf))
	f.add(group, "99 %", "ms", each(samples, p99Of))
	f.add(group, "most", "ms", each(samples, maxOf))
	f.wantAtMost(50)
	limit, slow := summarize(samples[limitName]).Median, summarize(samples[clientGo]).Median
	f.add(group, "median, as multiple of the limit's", "", each(samples, func(s summary) float64 { return s.Median / limit }))
	f.wantAtMost(1.3)
	f.add(group, "client-go's median, as multiple of it", "", each(samples, func(s summary) float64 { return slow / s.Median }))
	f.wantAtLeast(150)
	return f
}

// operatorFigures tell for how long nobody reconciled.
func operatorFigures(rolls map[string][]rollout) (f figures) {
	group := fmt.Sprintf("rolling update of a three-replica operator, %v, %d rounds", defaultPace, rolloutRounds)
	idle := map[string][]float64{}
	for name, rounds := range rolls {
		for _, r := range rounds {
			idle[name] = append(idle[name], milliseconds(r.idle))
		}
	}
	f.add(group, "nobody reconciles, median of an update", "ms", each(idle, medianOf))
	f.add(group, "nobody reconciles, most", "ms", each(idle, maxOf))
	return append(f, handoverCounts(group, rolls)...)
}

// fleetFigures tell how often leadership changed hands.
func fleetFigures(rolls map[string][]rollout) figures {
	return handoverCounts(fmt.Sprintf("rolling update of %d replicas, of the old ones the leader is stopped first, %v, %d rounds", fleetSize, defaultPace, rolloutRounds), rolls)
}

func handoverCounts(group string, rolls map[string][]rollout) (f figures) {
	counts := map[string][]float64{}
	for name, rounds := range rolls {
		for _, r := range rounds {
			counts[name] = append(counts[name], float64(r.handovers))
		}
	}
	f.add(group, "handovers, median of an update", "", each(counts, medianOf))
	f.add(group, "handovers, most", "", each(counts, maxOf))
	f.wantAtMost(1)
	return f
}

func crashFigures(samples map[string][]float64) (f figures) {
	group := fmt.Sprintf("takeover after a crash, later than the Lease runs out, %v, %d rounds", crashPace, crashRounds)
	f.add(group, "median", "ms", each(samples, medianOf))
	f.add(group, "most", "ms", each(samples, maxOf))
	f.wantAtMost(50)
	return f
}

func requestFigures(leaders, followers map[string]float64) (f figures) {
	group := fmt.Sprintf("requests in a minute, %v", defaultPace)
	f.add(group, "idle follower, beside its watch", "", followers)
	f.wantAtMost(0)
	f.add(group, "leader", "", leaders)
	f.wantAtMost(leaders[clientGo] + 1) // where the minute begins makes one more or less
	return f
}

func cpuFigures(base []float64, watching, polling float64) (f figures) {
	group := fmt.Sprintf("CPU time of the API server, %d idle followers, %v", cpuFollowers, defaultPace)
	each := map[string]float64{
		incumbent: (watching - mean(base)) / cpuFollowers,
		clientGo:  (polling - mean(base)) / cpuFollowers,
	}
	f.add(group, "for each follower, in a minute", "ms", each)
	f.wantAtMost(each[clientGo] / 20)
	f.add(group, "with a leader only, in a minute", "ms", map[string]float64{incumbent: base[0], clientGo: base[1]})
	return f
}

func herdFigures(samples, bare, refused []float64) (f figures) {
	group := fmt.Sprintf("graceful handover, one leader and %d followers, %d rounds", herdSize, len(samples))
	both := map[string][]float64{incumbent: samples, limitName: bare}
	f.add(group, "median", "ms", each(both, medianOf))
	f.add(group, "most", "ms", each(both, maxOf))
	f.wantAtMost(50)
	limit := summarize(bare).Median
	f.add(group, "median, as multiple of the limit's", "", each(both, func(s summary) float64 { return s.Median / limit }))
	f.wantAtMost(1.3)
	f.add(group, "refused writes, most in a round", "", map[string]float64{incumbent: slices.Max(refused)})
	f.wantAtMost(10)
	return f
}

func crowdFigures(kind string, p footprint) (f figures) {
	group := fmt.Sprintf("%d electors in one process, %s, one clientset", manyElectors, kind)
	add := func(name, unit string, value float64) { f.add(group, name, unit, map[string]float64{incumbent: value}) }
	add("heap, each", "KiB", p.heap)
	f.wantAtMost(96)
	add("stacks, each", "KiB", p.stack)
	add("goroutines, each", "", p.goroutines)
	f.wantAtMost(8)
	add("until all led", "s", p.start)
	add("leading", "", p.leading)
	f.wantAtLeast(manyElectors)
	add("terms lost", "", p.lost)
	f.wantAtMost(0)
	add("renewals, each in a minute", "", p.renewals)
	return f
}
