//go:build !race

package simulation

// Numbers of schedules of each kind without flags. make test runs more.
const (
	defaultSchedules = 20
	defaultClientGo  = 8
	defaultMixed     = 8
)
