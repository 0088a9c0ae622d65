package main

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSummarize(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for name, c := range map[string]struct {
		samples []float64
		want    summary
	}{
		"one":           {[]float64{7}, summary{7, 7, 7, 7}},
		"an even count": {[]float64{4, 1, 3, 2}, summary{1, 2.5, 4, 4}},
		"an odd count":  {[]float64{9, 1, 5}, summary{1, 5, 9, 9}},
		"a hundred":     {hundred, summary{1, 50.5, 99, 100}},
	} {
		before := append([]float64(nil), c.samples...)
		if got := summarize(c.samples); got != c.want {
			t.Errorf("%s: summarize() = %v, want %v", name, got, c.want)
		}
		if diff := cmp.Diff(before, c.samples); diff != "" {
			t.Errorf("%s: summarize has changed its argument: %s", name, diff)
		}
	}
	if got := summarize(nil); !math.IsNaN(got.Median) || !math.IsNaN(mean(nil)) {
		t.Errorf("summarize(nil) = %v, want NaNs", got)
	}
}
