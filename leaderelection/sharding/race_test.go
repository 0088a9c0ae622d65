//go:build race

package sharding

// defaultSchedules is the number of schedules of each kind. The race detector makes a
// schedule about five times slower.
const defaultSchedules = 4
