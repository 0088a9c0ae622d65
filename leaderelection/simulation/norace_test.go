//go:build !race

package simulation

// How many schedules of each kind are run without flags; make test runs more.
const (
	defaultSchedules = 20
	defaultClientGo  = 8
	defaultMixed     = 8
)
