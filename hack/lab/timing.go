package lab

import "time"

// Timing contains the three durations of a leader election.
type Timing struct {
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration // see the fields with the same names in leaderelection.Config
}

// String returns the three durations, separated by slashes, for instance "15s/10s/2s".
func (t Timing) String() string {
	return t.LeaseDuration.String() + "/" + t.RenewDeadline.String() + "/" + t.RetryPeriod.String()
}
