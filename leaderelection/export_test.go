package leaderelection

import "time"

// StartedAt makes it the elector of a process that started then.
func (e *Elector) StartedAt(t time.Time) { e.heirship.started = t }
