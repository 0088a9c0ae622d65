package lab

import "time"

// Timing has the three durations of an election.
type Timing struct {
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration // as in leaderelection.Config
}

// String returns the durations in the order of the fields.
func (t Timing) String() string {
	return t.LeaseDuration.String() + "/" + t.RenewDeadline.String() + "/" + t.RetryPeriod.String()
}
