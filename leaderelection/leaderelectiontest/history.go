package leaderelectiontest

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Write is one write that the server has applied. Do not change its Leases.
type Write struct {
	// Time is when the write was applied.
	Time time.Time
	// Client is the name of the client that wrote. It is empty if the test wrote,
	// with [Server.Put], [Server.Edit], [Server.Recreate] or [Server.Delete].
	Client string
	// Verb is create, update, patch or delete. An update may have created the
	// Lease.
	Verb string
	// Namespace and Name name the Lease.
	Namespace, Name string
	// ResourceVersion is the resourceVersion of the write. A deletion has one too.
	ResourceVersion int64
	// Before is the Lease before the write, nil if it did not exist.
	Before *coordinationv1.Lease
	// After is the Lease after the write, nil if it was deleted.
	After *coordinationv1.Lease
}

// String returns a description of one line.
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

// Holder returns the holder identity of a Lease. It is empty if the Lease is nil
// or has no holder.
func Holder(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// History returns all writes in the order in which they were applied. It includes
// writes that [Server.Restore] has undone.
func (s *Server) History() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}
