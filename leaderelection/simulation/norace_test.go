//go:build !race

package simulation

// The number of schedules of each kind if no flag is set. The command make test
// runs more schedules.
const (
	defaultSchedules = 20
	defaultClientGo  = 8
	defaultMixed     = 8
)
