package clock

import "time"

var processStart = time.Now()

// ProcessStart returns approximately when this process started, and never an earlier
// time. A simulation, in which one process plays several, replaces ProcessStart.
var ProcessStart = func() time.Time { return processStart }
