package leaderelectiontest

import (
	"encoding/json"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The exported methods in this file act like an administrator who uses kubectl.
// Their requests do not pass through a Network.

// Get returns the current Lease, or a NotFound error.
func (s *Server) Get(namespace, name string) (*coordinationv1.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lease, err := s.getLocked(types.NamespacedName{Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	return lease.DeepCopy(), nil
}

// Put creates or overwrites a Lease. Put ignores the UID and the resourceVersion
// of the parameter lease.
func (s *Server) Put(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	lease, err := onTheWire(lease)
	if err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Name}
	s.mu.Lock()
	defer s.mu.Unlock()
	by := author{verb: "update"}
	var result *coordinationv1.Lease
	if old := s.leases[key]; old != nil {
		result, err = s.replaceLocked(by, key, lease, old)
	} else {
		lease.ResourceVersion = ""
		by.verb = "create"
		result, err = s.createLocked(by, key, lease)
	}
	if err != nil {
		return nil, err
	}
	return result.DeepCopy(), nil
}

// Edit reads a Lease, calls edit with a copy of the Lease, and
// writes the changed copy. If another client writes the Lease between the read
// and the write, Edit starts again.
func (s *Server) Edit(namespace, name string, edit func(*coordinationv1.Lease)) error {
	for {
		old, err := s.Get(namespace, name)
		if err != nil {
			return err
		}
		version := old.ResourceVersion
		edit(old)
		lease, err := onTheWire(old)
		if err != nil {
			return err
		}
		done, err := s.editOnce(types.NamespacedName{Namespace: namespace, Name: name}, lease, version)
		if done || err != nil {
			return err
		}
	}
}

func (s *Server) editOnce(key types.NamespacedName, lease *coordinationv1.Lease, version string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	current, err := s.getLocked(key)
	if err != nil {
		return false, err
	}
	if current.ResourceVersion != version {
		return false, nil
	}
	_, err = s.replaceLocked(author{verb: "update"}, key, lease, current)
	return true, err
}

// Delete deletes a Lease, or returns a NotFound error.
func (s *Server) Delete(namespace, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.deleteLocked(author{verb: "delete"}, types.NamespacedName{Namespace: namespace, Name: name}, &metav1.DeleteOptions{})
	return err
}

// Recreate deletes a Lease and creates it again with another UID. No other
// write is possible between the deletion and the creation.
func (s *Server) Recreate(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	lease, err := onTheWire(lease)
	if err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Name}
	lease.ResourceVersion = ""
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.getLocked(key)
	if err != nil {
		return nil, err
	}
	if err := validate(lease); err != nil {
		return nil, err
	}
	s.removeLocked(author{verb: "delete"}, key, old)
	result, err := s.createLocked(author{verb: "create"}, key, lease)
	if err != nil {
		return nil, err
	}
	return result.DeepCopy(), nil
}

// onTheWire encodes and decodes a copy of the Lease, and truncates all times to
// microseconds.
func onTheWire(lease *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	document, err := json.Marshal(lease)
	if err != nil {
		return nil, err
	}
	arrived := &coordinationv1.Lease{}
	err = json.Unmarshal(document, arrived)
	arrived.TypeMeta = metav1.TypeMeta{}
	return arrived, err
}
