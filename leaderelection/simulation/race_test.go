//go:build race

package simulation

// The number of schedules of each kind if no flag is set. Under the race
// detector, a schedule takes about five times as long.
const (
	defaultSchedules = 20
	defaultClientGo  = 2
	defaultMixed     = 2
)
