package lab

import (
	"testing"
	"time"
)

func TestMilliseconds_KeepMicroseconds(t *testing.T) {
	if got := Milliseconds(1234567 * time.Nanosecond); got != 1.235 {
		t.Errorf("Milliseconds() = %v, want 1.235", got)
	}
}
