package lab

import "time"

// Timing contains the three durations of a leader election.
type Timing struct {
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration // with the same meaning as in leaderelection.Config
}

// String returns the three durations, separated by slashes.
func (t Timing) String() string {
	return t.LeaseDuration.String() + "/" + t.RenewDeadline.String() + "/" + t.RetryPeriod.String()
}
