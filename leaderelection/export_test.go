package leaderelection

import "time"

// StartedAt makes e the elector of a process that started at t.
func (e *Elector) StartedAt(t time.Time) { e.nomination.started = t }

// JoinedAt makes e an elector that has campaigned since t.
func (e *Elector) JoinedAt(t time.Time) {
	e.mu.Lock()
	defer e.unlock()
	e.nomination.joined = t
}
