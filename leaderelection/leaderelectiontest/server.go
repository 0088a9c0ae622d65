package leaderelectiontest

import (
	"io"
	"maps"
	"slices"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
)

// firstRevision makes resourceVersions gain a digit early in each test, so that
// code fails which compares them as strings.
const firstRevision = 95

// Server is a Lease API in memory. Its methods may be called from any
// goroutine at any time.
type Server struct {
	// mu guards the fields below. It is never held during a wait or a call of
	// the test's code. It may be held while the mutex of a Network is locked.
	mu sync.Mutex

	revision  int64 // resourceVersion of the last write of any object
	leases    map[types.NamespacedName]*coordinationv1.Lease
	events    []event // writes after compacted, for watches
	compacted int64   // watches must start from here or later
	history   []Write

	changed    chan struct{} // closed and replaced when a waiting request must check its condition again
	epoch      int           // incremented when all connections break
	outage     *Mode         // nil: the server is up
	closed     bool
	clients    map[string]*Client
	namespaces map[string]bool // nil: every namespace exists
}

// NewServer returns a Server without Leases. If the test runs in a synctest
// bubble, call NewServer inside the bubble.
func NewServer() *Server {
	return &Server{
		revision:  firstRevision,
		compacted: firstRevision,
		leases:    map[types.NamespacedName]*coordinationv1.Lease{},
		changed:   make(chan struct{}),
		clients:   map[string]*Client{},
	}
}

// Close ends all watches and all requests under way, and fails new ones.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.wakeLocked()
	clients := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	for _, client := range clients {
		client.network.close(errServerClosed)
	}
}

// LimitNamespaces sets which namespaces exist. By default all namespaces exist.
// The server answers 404 if a Lease is created in another namespace, like a real server.
func (s *Server) LimitNamespaces(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces = map[string]bool{}
	for _, name := range names {
		s.namespaces[name] = true
	}
}

// Restart breaks all connections: watches end, and requests under way fail. A
// request that has not been applied yet is not applied later, unless it is
// delayed by ArriveLate. New requests are served at once.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakConnectionsLocked()
}

// Outage takes the server down until [Server.Recover]: all connections break,
// and new requests are refused or hang, depending on mode.
func (s *Server) Outage(mode Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = &mode
	s.breakConnectionsLocked()
}

// Recover ends an outage. See [Server.Outage].
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = nil
	s.wakeLocked()
}

// Compact discards the events of earlier writes. Open watches end with an ERROR
// event 410 Gone, and so does each watch that starts from an earlier
// resourceVersion.
func (s *Server) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++ // as if another object was written: all open watches are behind
	s.compacted = s.revision
	s.events = nil
	s.wakeLocked()
}

// Snapshot is a backup of a [Server].
type Snapshot struct {
	revision int64
	leases   map[types.NamespacedName]*coordinationv1.Lease
}

// Snapshot takes a backup of all Leases and of the resourceVersion.
func (s *Server) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Snapshot{revision: s.revision, leases: cloneMap(s.leases)}
}

// Restore resets the server to a backup, like restoring etcd does: later writes
// are undone, and their resourceVersions are assigned again to other writes.
// All connections break.
func (s *Server) Restore(backup *Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = backup.revision
	s.compacted = backup.revision
	s.leases = cloneMap(backup.leases)
	s.events = nil
	s.breakConnectionsLocked()
}

// Count returns how many requests a client has sent, whether or not they reached
// the server. An empty client or verb matches all.
func (s *Server) Count(client, verb string) int {
	s.mu.Lock()
	clients := slices.Collect(maps.Values(s.clients))
	s.mu.Unlock()
	total := 0
	for _, c := range clients {
		if client == "" || c.name == client {
			total += c.network.Count(func(r Request) bool { return verb == "" || r.Verb == verb })
		}
	}
	return total
}

func (s *Server) breakConnectionsLocked() {
	s.epoch++
	s.wakeLocked()
	for _, client := range s.clients {
		client.network.breakConnections(false, errReset, io.ErrUnexpectedEOF)
	}
}

func (s *Server) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// change returns a channel that is closed at the next change.
func (s *Server) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func cloneMap(leases map[types.NamespacedName]*coordinationv1.Lease) map[types.NamespacedName]*coordinationv1.Lease {
	clone := make(map[types.NamespacedName]*coordinationv1.Lease, len(leases))
	for key, lease := range leases {
		clone[key] = lease // stored Leases are replaced, never modified
	}
	return clone
}
