package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// write puts the results and their plots into a folder.
func (r *report) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	results, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	files := map[string]string{"results.json": string(results) + "\n", "table.txt": table(r.Figures)}
	if len(r.Samples) > 0 {
		rounds := len(r.Samples[limitName])
		files["handover.svg"], err = handoverPlot(r.Samples,
			fmt.Sprintf("From telling a leader to stop to the start of its successor's work: %d handovers of each kind", rounds))
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
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}
