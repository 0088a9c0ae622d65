package main

import (
	"path/filepath"
	"slices"
	"testing"
)

// The list is run seldom; that it fits the code is seen at once.
func TestMutants_FitTheCode(t *testing.T) {
	names := map[string]bool{}
	for _, m := range slices.Concat(core, lock, others) {
		if err := m.fits(filepath.Join("..", "..")); err != nil {
			t.Error(err)
		}
		if names[m.name] {
			t.Errorf("two breaks are named %q", m.name)
		}
		names[m.name] = true
	}
	t.Logf("%d breaks", len(names))
}
