package leaderelectiontest

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Write is one write that the server has applied. What is read from it must
// not be changed.
type Write struct {
	// Time is when it was applied.
	Time time.Time
	// Client is the name of the client that wrote; "" is the test itself, by
	// [Server.Put], [Server.Edit] or [Server.Delete].
	Client string
	// Verb is create, update, patch or delete. An update may have created.
	Verb string
	// Namespace and Name say which Lease was written.
	Namespace, Name string
	// ResourceVersion is that of the write, also for a deletion.
	ResourceVersion int64
	// Before is what was there, nil if there was nothing.
	Before *coordinationv1.Lease
	// After is what is there now, nil after a deletion.
	After *coordinationv1.Lease
}

// String is one line for a trace.
func (w Write) String() string {
	client := w.Client
	if client == "" {
		client = "(test)"
	}
	return fmt.Sprintf("%s %-8s %-6s %s/%s@%d %s -> %s", w.Time.Format("15:04:05.000"), client, w.Verb,
		w.Namespace, w.Name, w.ResourceVersion, describe(w.Before), describe(w.After))
}

func describe(lease *coordinationv1.Lease) string {
	if lease == nil {
		return "none"
	}
	holder := Holder(lease)
	if holder == "" {
		return "free"
	}
	return "held by " + holder
}

// Holder is the identity that a Lease names, "" for none and for no Lease.
func Holder(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// History returns every write applied so far, in order. Writes that
// [Server.Restore] has undone are still in it: they happened.
func (s *Server) History() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}
