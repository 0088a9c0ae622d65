package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock locks the file at path. It waits while another run of this command holds the lock.
// The kernel releases the lock when the process ends, so a killed run does not block
// other runs. No run removes the lock file. If a run removed the lock file, two runs
// could lock two different files with the same name.
func lock(ctx context.Context, path string, log *progress) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, file, log); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// Runs that wait for the lock print this process ID in a message. The process ID has
	// no other use, so errors are ignored.
	_ = file.Truncate(0)
	_, _ = fmt.Fprint(file, os.Getpid())
	return func() {
		_ = file.Truncate(0)
		_ = file.Close()
	}, nil
}

// wait tries to lock the file again and again until it succeeds. It does not call flock
// in blocking mode, because ctx cannot interrupt such a call.
func wait(ctx context.Context, file *os.File, log *progress) error {
	stopBeat := func() {}
	defer func() { stopBeat() }()
	for waiting := false; ; waiting = true {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", file.Name(), err)
		}
		if !waiting {
			holder := holder(file)
			log.printf("waiting for another run (%s) to finish", holder)
			stopBeat = log.heartbeat(func() string { return "still waiting for " + holder })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// holder describes the process that holds the lock, for a message. The description
// contains the process ID, which holder reads from the lock file.
func holder(file *os.File) string {
	pid := make([]byte, 20)
	n, _ := file.ReadAt(pid, 0)
	if n == 0 {
		return "just started"
	}
	return "process " + string(pid[:n])
}
