package leaderelection

import (
	"time"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/clock"
)

// StartedAt makes e behave as if its process had started at t.
func (e *Elector) StartedAt(t time.Time) { e.nomination.started = t }

// JoinedAt makes e behave as if it had campaigned since t.
func (e *Elector) JoinedAt(t time.Time) {
	e.mu.Lock()
	defer e.unlock()
	e.nomination.joined = t
}

// RenewedAt makes e behave as if it had sent a write with the renewTime t.
func (e *Elector) RenewedAt(t time.Time) {
	e.mu.Lock()
	defer e.unlock()
	e.writes.last, e.writes.lastSent = t.UnixMicro(), clock.Now()
}
