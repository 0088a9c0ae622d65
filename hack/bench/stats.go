package main

import (
	"math"
	"slices"
	"time"
)

// A summary is what a row of samples comes to, in milliseconds.
type summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// summarize needs at least one sample.
func summarize(samples []float64) summary {
	sorted := slices.Sorted(slices.Values(samples))
	return summary{
		Min:    sorted[0],
		Median: (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2,
		P99:    quantile(sorted, 0.99),
		Max:    sorted[len(sorted)-1],
	}
}

// quantile is by nearest rank: a value that was measured, never one between two.
func quantile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// milliseconds is to the microsecond: the rest is noise.
func milliseconds(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond).Microseconds()) / 1000
}

// mean needs at least one value.
func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
