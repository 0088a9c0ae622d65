//go:build race

package simulation

// A schedule takes some five times as long under the race detector.
const (
	defaultSchedules = 3
	defaultClientGo  = 4
)
