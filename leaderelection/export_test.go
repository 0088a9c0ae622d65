package leaderelection

import "time"

// StartedAt makes e behave as if its process had started at t.
func (e *Elector) StartedAt(t time.Time) { e.nomination.started = t }

// JoinedAt makes e behave as if it had campaigned since t.
func (e *Elector) JoinedAt(t time.Time) {
	e.mu.Lock()
	defer e.unlock()
	e.nomination.joined = t
}
