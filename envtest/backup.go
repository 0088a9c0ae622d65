package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup takes a backup of etcd. The backup is kept until the control plane is
// stopped. If etcd is running, Backup restarts etcd and waits until the API
// servers are ready again. This takes a few seconds.
//
// The returned function restores the backup, as an administrator does after a
// loss of data. It kills the running API servers, restores the data of etcd,
// and starts those API servers again. An API server that continued to run would
// keep objects in its cache that were written after the backup.
//
// After the restore, the objects and their resourceVersions are those of the
// backup. Later writes get resourceVersions that were already assigned once, to
// the writes between the backup and the restore.
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
// kills etcd, calls f, and starts etcd again. etcd loses no data when it is
// killed. Unlike a graceful stop, a kill does not wait until the API servers
// have disconnected.
func (s *Server) whileDown(f func() error) error {
	if !s.Running() {
		return f()
	}
	if err := s.Kill(); err != nil {
		return err
	}
	return errors.Join(f(), s.Start())
}
