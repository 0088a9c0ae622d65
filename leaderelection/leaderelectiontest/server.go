package leaderelectiontest

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/types"
)

// firstRevision is the resourceVersion of a new server. The resourceVersion soon
// has 19 digits instead of 18. Therefore tests find code that compares
// resourceVersions as strings, keeps them as float64, or expects at most 18 digits.
const firstRevision = 999_999_999_999_999_995

// Server is a Lease API in memory. All methods may be called from any
// goroutine.
type Server struct {
	host string // a URL that no other Server in this process has

	// mu guards the fields below. No code holds mu while it waits or calls
	// functions of the test. Code that needs both mu and the mutex of a Network
	// must lock mu first.
	mu sync.Mutex

	revision  int64 // the resourceVersion of the most recent write
	leases    map[types.NamespacedName]*coordinationv1.Lease
	events    []event // all writes with a revision above the value of compacted
	compacted int64   // the lowest resourceVersion from which a watch can start
	history   []Write

	changed    chan struct{} // closed and replaced at each change of the server
	epoch      int           // incremented each time all connections break
	outage     *Mode         // nil if the server is up
	closed     bool
	clients    map[string]*Client
	namespaces map[string]bool // nil if every namespace exists
}

// servers counts the Servers of this process.
var servers atomic.Int64

// NewServer returns a Server without Leases. If the test runs in a synctest
// bubble, call NewServer inside the bubble.
func NewServer() *Server {
	return &Server{
		host:      fmt.Sprintf("http://leaderelectiontest-%d.invalid", servers.Add(1)),
		revision:  firstRevision,
		compacted: firstRevision,
		leases:    map[types.NamespacedName]*coordinationv1.Lease{},
		changed:   make(chan struct{}),
		clients:   map[string]*Client{},
	}
}

// Close ends all watches and fails all requests in flight. Later requests also
// fail.
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

// LimitNamespaces limits which namespaces exist. By default, all namespaces
// exist. If a client creates a Lease in a namespace that does not exist, the
// server answers 404, like a real API server.
func (s *Server) LimitNamespaces(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.namespaces = map[string]bool{}
	for _, name := range names {
		s.namespaces[name] = true
	}
}

// Restart breaks all connections. Watches end, and requests in flight fail. The
// server does not apply these requests later, except requests that
// [Network.ArriveLate] delays. The server accepts new requests at once.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.breakConnectionsLocked()
}

// Outage takes the server down until [Server.Recover] is called. All
// connections break. With the mode [Refuse], new requests fail. With the mode
// [Hang], new requests wait.
func (s *Server) Outage(mode Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = &mode
	s.breakConnectionsLocked()
}

// Recover ends an outage that [Server.Outage] started.
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = nil
	s.wakeLocked()
}

// Compact discards the events of all writes that the server has applied. Open
// watches end with an ERROR event 410 Gone. A new watch also ends with this
// event if it starts from an earlier resourceVersion.
func (s *Server) Compact() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision++ // simulate a write of another object, so that all open watches end
	s.compacted = s.revision
	s.events = nil
	s.wakeLocked()
}

// Snapshot is a backup of a [Server].
type Snapshot struct {
	revision int64
	leases   map[types.NamespacedName]*coordinationv1.Lease
}

// Snapshot makes a backup of all Leases and of the current resourceVersion.
func (s *Server) Snapshot() *Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Snapshot{revision: s.revision, leases: cloneMap(s.leases)}
}

// Restore resets the server to a backup, like a restore of etcd. All writes
// that were made after the backup are undone. New writes get the same
// resourceVersions as the undone writes. All connections break.
func (s *Server) Restore(backup *Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = backup.revision
	s.compacted = backup.revision
	s.leases = cloneMap(backup.leases)
	s.events = nil
	s.breakConnectionsLocked()
}

// Count returns how many requests the client with this name has sent with this
// verb. The number includes requests that did not reach the server. If the
// parameter client is empty, Count counts the requests of all clients. If the
// parameter verb is empty, Count counts requests with any verb.
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

// change returns a channel that is closed at the next change of the server's
// state.
func (s *Server) change() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func cloneMap(leases map[types.NamespacedName]*coordinationv1.Lease) map[types.NamespacedName]*coordinationv1.Lease {
	clone := make(map[types.NamespacedName]*coordinationv1.Lease, len(leases))
	for key, lease := range leases {
		clone[key] = lease // stored Leases are never modified
	}
	return clone
}
