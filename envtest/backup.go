package envtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Backup is the state of etcd at one moment. It is kept until the control plane
// is stopped.
type Backup struct{ dir string }

// Backup takes a backup of etcd. If etcd is running it is restarted for that, and
// the API servers that run take a few seconds to find it again; Backup returns
// when they are ready.
func (cp *ControlPlane) Backup() (Backup, error) {
	cp.mu.Lock()
	cp.backups++
	backup := Backup{dir: filepath.Join(cp.dir, name("backup", cp.backups))}
	cp.mu.Unlock()
	err := cp.etcd.whileDown(func() error {
		return os.CopyFS(backup.dir, os.DirFS(cp.etcd.dataDir))
	})
	for _, server := range cp.servers {
		err = errors.Join(err, server.awaitReady())
	}
	if err != nil {
		return Backup{}, fmt.Errorf("envtest: taking a backup of etcd: %w", err)
	}
	return backup, nil
}

// Restore does what follows on a disaster: the API servers that run are killed,
// etcd gets the state it had when the backup was taken, and those API servers are
// started again. Objects and resourceVersions are then what they were, and
// resourceVersions that were given out since are given out once more, for other
// states. API servers that went on running would remember a future that does not
// come.
func (cp *ControlPlane) Restore(backup Backup) error {
	var running []*APIServer
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
			return os.CopyFS(cp.etcd.dataDir, os.DirFS(backup.dir))
		})
	}
	if err = errors.Join(err, startAll(running)); err != nil {
		return fmt.Errorf("envtest: restoring etcd: %w", err)
	}
	return nil
}

// whileDown runs f while etcd is not running, and starts it again if it was. It
// kills etcd, which loses nothing and does not wait for API servers to let go.
func (e *Etcd) whileDown(f func() error) error {
	if !e.Running() {
		return f()
	}
	if err := e.Kill(); err != nil {
		return err
	}
	return errors.Join(f(), e.Start())
}
