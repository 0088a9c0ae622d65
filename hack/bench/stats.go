package main

import (
	"math"
	"slices"
)

// A summary contains statistics about samples, in the unit of the samples.
type summary struct {
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	P99    float64 `json:"p99"`
	Max    float64 `json:"max"`
}

// summarize returns the summary of the samples. If there are no samples, all fields are
// NaN.
func summarize(samples []float64) summary {
	if len(samples) == 0 {
		return summary{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(samples))
	return summary{
		Min:    sorted[0],
		Median: (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2,
		P99:    quantile(sorted, 0.99),
		Max:    sorted[len(sorted)-1],
	}
}

// quantile returns the quantile q of the sorted samples. It uses the nearest-rank
// method. Therefore the result is always one of the samples.
func quantile(sorted []float64, q float64) float64 {
	rank := int(math.Ceil(q * float64(len(sorted))))
	return sorted[max(rank, 1)-1]
}

// mean returns the mean of the values. It returns NaN if there are no values.
func mean(values []float64) float64 {
	var sum float64
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
