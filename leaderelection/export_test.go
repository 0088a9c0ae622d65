package leaderelection

import "time"

// StartedAt makes it the elector of a process that started then.
func (e *Elector) StartedAt(t time.Time) { e.heirship.started = t }

// JoinedAt makes it one that has been running since then.
func (e *Elector) JoinedAt(t time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heirship.joined = t
}
