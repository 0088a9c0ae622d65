package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup takes a backup of etcd. The backup is kept until the control plane is
// stopped. If etcd is running, Backup restarts it and returns when the API
// servers are ready again, which takes a few seconds.
//
// The function that Backup returns restores the backup, as an administrator
// does after data was lost: it kills the API servers that are running, restores
// the data of etcd, and starts those API servers again. (An API server that
// continued to run would have later states in its cache.) Objects and
// resourceVersions are then what they were. The API servers assign
// resourceVersions again that they have assigned since the backup, to other
// writes.
func (cp *ControlPlane) Backup() (restore func() error, err error) {
	cp.mu.Lock()
	cp.backups++
	dir := filepath.Join(cp.dir, name("backup", cp.backups))
	cp.mu.Unlock()
	err = cp.etcd.whileDown(func() error {
		return os.CopyFS(dir, os.DirFS(cp.etcd.dataDir))
	})
	for _, server := range cp.servers {
		err = errors.Join(err, server.awaitReady())
	}
	if err != nil {
		return nil, fmt.Errorf("envtest: taking a backup of etcd: %w", err)
	}
	return func() error { return cp.restore(dir) }, nil
}

func (cp *ControlPlane) restore(dir string) error {
	var running []*Server
	var err error
	for _, server := range cp.servers {
		if server.Running() {
			running = append(running, server)
			err = errors.Join(err, server.Kill())
		}
	}
	if err == nil {
		err = cp.etcd.whileDown(func() error {
			if err := os.RemoveAll(cp.etcd.dataDir); err != nil {
				return err
			}
			return os.CopyFS(cp.etcd.dataDir, os.DirFS(dir))
		})
	}
	if err = errors.Join(err, startAll(running)); err != nil {
		return fmt.Errorf("envtest: restoring etcd: %w", err)
	}
	return nil
}

// whileDown calls f while etcd is not running. If etcd was running, it is
// started again. It is killed, which loses no data and does not wait for the
// API servers to disconnect.
func (s *Server) whileDown(f func() error) error {
	if !s.Running() {
		return f()
	}
	if err := s.Kill(); err != nil {
		return err
	}
	return errors.Join(f(), s.Start())
}
