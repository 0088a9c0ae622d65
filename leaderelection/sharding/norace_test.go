//go:build !race

package sharding

// defaultSchedules is the number of schedules of each kind.
const defaultSchedules = 20
