package leaderelectiontest

import (
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// Write is an entry of [Server.History]. It records one change of a Lease. Do
// not modify the Leases in a Write.
type Write struct {
	// Time is when the server applied the write.
	Time time.Time
	// Client is the name of the client that sent the write. It is empty if the
	// test made the write with [Server.Put], [Server.Edit], [Server.Recreate]
	// or [Server.Delete].
	Client string
	// Verb is create, update, patch or delete. An update can also create a
	// Lease.
	Verb string
	// Namespace and Name are the namespace and the name of the Lease.
	Namespace, Name string
	// ResourceVersion is the resourceVersion that the server gave to the write.
	// A deletion also gets a new resourceVersion.
	ResourceVersion int64
	// Before is the Lease before the write, or nil if the Lease did not exist.
	Before *coordinationv1.Lease
	// After is the Lease after the write, or nil if the write deleted the Lease.
	After *coordinationv1.Lease
}

// String returns a one-line description of the write.
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

// Holder returns the holder identity of a Lease. It returns "" if the Lease is
// nil or has no holder.
func Holder(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// History returns all writes, in the order in which the server applied them.
// The result includes writes that [Server.Restore] has undone.
func (s *Server) History() []Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.history)
}
