package leaderelectiontest

import (
	"io"
	"maps"
	"slices"
	"sync"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
)

// firstRevision makes the resourceVersions of every test grow a digit soon:
// who compares them as strings is found out.
const firstRevision = 95

// Server is a Lease API in memory. Its methods may be called from any
// goroutine at any time.
type Server struct {
	// mu guards all that follows. It is never held across a wait, and no
	// foreign code runs under it.
	mu sync.Mutex

	revision  int64 // resourceVersion of the last write, of whatever object
	leases    map[types.NamespacedName]*coordinationv1.Lease
	events    []event // writes after compacted, for watches
	compacted int64   // watches must start from here or later
	history   []Write

	changed    chan struct{} // closed and replaced whenever somebody may have to look again
	epoch      int           // grows when all connections break
	outage     *Mode         // nil: the server is up
	closed     bool
	clients    map[string]*Client
	namespaces map[string]bool // nil: every namespace exists
}

// NewServer returns a Server without Leases. Call it inside the synctest
// bubble, if there is one.
func NewServer() *Server {
	return &Server{
		revision:  firstRevision,
		compacted: firstRevision,
		leases:    map[types.NamespacedName]*coordinationv1.Lease{},
		changed:   make(chan struct{}),
		clients:   map[string]*Client{},
	}
}

// Close ends all watches and all requests under way and refuses new ones.
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

// LimitNamespaces says which namespaces exist. Without a call all do.
// Creating a Lease elsewhere is answered by 404, as on a real server.
func (s *Server) LimitNamespaces(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces = map[string]bool{}
	for _, name := range names {
		s.namespaces[name] = true
	}
}

// Restart breaks every connection: watches end, and requests under way fail
// without having been applied, unless they had been applied before. New ones
// are served at once.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakConnectionsLocked()
}

// Outage takes the server down until [Server.Recover]: connections break, and
// new requests are refused or hang, as mode says.
func (s *Server) Outage(mode Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = &mode
	s.breakConnectionsLocked()
}

// Recover ends an [Server.Outage].
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = nil
	s.wakeLocked()
}

// Compact forgets the history of writes that watches start from. Open watches
// end with an ERROR event 410 Gone, and so does each that starts from a
// resourceVersion of before.
func (s *Server) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++ // something else was written: what watches have seen last is too old
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

// Restore rewinds the server to a backup, as an etcd restored from one does:
// later writes never happened, and resourceVersions that were given out once
// are given out again for other writes. All connections break.
func (s *Server) Restore(backup *Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = backup.revision
	s.compacted = backup.revision
	s.leases = cloneMap(backup.leases)
	s.events = nil
	s.breakConnectionsLocked()
}

// Count returns how many requests a client has sent, whatever became of them.
// An empty client or verb counts all of them.
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
		clone[key] = lease // stored Leases are never changed, only replaced
	}
	return clone
}
