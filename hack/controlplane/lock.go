package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock waits until no other run fills the cache. The kernel releases the lock when the
// process ends, so a killed run blocks no other one. The file is never removed, because
// two runs could then lock two files of the same name.
func lock(ctx context.Context, path string, log *progress) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, file, log); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// The process ID is only for the message of waiting runs, so errors are ignored.
	_ = file.Truncate(0)
	_, _ = fmt.Fprint(file, os.Getpid())
	return func() {
		_ = file.Truncate(0)
		_ = file.Close()
	}, nil
}

// wait polls the lock, because ctx cannot interrupt a blocking flock.
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

// holder returns the process ID in the lock file, for a message.
func holder(file *os.File) string {
	pid := make([]byte, 20)
	n, _ := file.ReadAt(pid, 0)
	if n == 0 {
		return "just started"
	}
	return "process " + string(pid[:n])
}
