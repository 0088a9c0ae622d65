//go:build race

package simulation

// Numbers of schedules of each kind without flags. A schedule takes about five
// times as long under the race detector.
const (
	defaultSchedules = 20
	defaultClientGo  = 2
	defaultMixed     = 2
)
