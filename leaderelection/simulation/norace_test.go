//go:build !race

package simulation

const (
	defaultSchedules = 20
	defaultClientGo  = 8
)
