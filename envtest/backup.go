package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup makes a backup of the data of etcd. If etcd is running, Backup
// restarts etcd and waits until the API servers are ready. This takes a few
// seconds. [ControlPlane.Stop] deletes the backup.
//
// restore kills the running API servers, restores the data of
// etcd, and starts the same API servers again. The API servers must be
// restarted, because their caches could contain objects that are newer than the
// backup.
//
// The restore loses all writes since the backup. New writes then get the same
// resourceVersions as the lost writes.
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

// whileDown calls f while etcd is not running. If etcd is running, whileDown
// first kills etcd, and starts etcd again after the call. etcd loses no data
// when it is killed.
func (s *Server) whileDown(f func() error) error {
	if !s.Running() {
		return f()
	}
	if err := s.Kill(); err != nil {
		return err
	}
	return errors.Join(f(), s.Start())
}
