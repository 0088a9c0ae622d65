//go:build race

package simulation

// A schedule takes some five times as long under the race detector.
const (
	defaultSchedules = 20
	defaultClientGo  = 2
	defaultMixed     = 2
)
