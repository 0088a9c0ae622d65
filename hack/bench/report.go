package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"
)

// A report contains the results of one run of the benchmark.
type report struct {
	Date       time.Time            `json:"date"`
	Kubernetes string               `json:"kubernetes"`
	Go         string               `json:"go"`
	Modules    map[string]string    `json:"modules"` // the versions of the modules that the benchmark compares
	CPUs       int                  `json:"cpus"`
	Figures    figures              `json:"figures"`
	Samples    map[string][]float64 `json:"handoverMilliseconds,omitempty"` // the handover times, keyed by the name of the implementation
	Timeline   *timeline            `json:"timeline,omitempty"`
}

// comparedModules returns the versions of client-go and controller-runtime in this binary.
func comparedModules() map[string]string {
	versions := map[string]string{}
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == "k8s.io/client-go" || module.Path == "sigs.k8s.io/controller-runtime" {
			versions[module.Path] = module.Version
		}
	}
	return versions
}

// write writes the results and the plots into a folder.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	results, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{"results.json": string(results) + "\n", "table.txt": r.table()}
	if len(r.Samples) > 0 {
		files["handover.svg"], err = handoverPlot(r.Samples,
			fmt.Sprintf("Time from the stop of a leader to the start of its successor's work: %d handovers of each kind", len(r.Samples[limitName])))
		if err != nil {
			return err
		}
	}
	if r.Timeline != nil {
		files["timeline.svg"], err = timelinePlot(*r.Timeline, "The handover that took the median time")
		if err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(files[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}
