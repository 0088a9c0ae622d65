package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock makes this the only run that fills the cache. The kernel drops the lock
// with the process, so a killed run blocks nobody; the file itself stays, for
// removing it would let two runs lock two files of the same name.
func lock(ctx context.Context, path string, log *progress) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, file, log); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	// For the message of those who wait; losing it loses nothing else.
	_ = file.Truncate(0)
	_, _ = fmt.Fprint(file, os.Getpid())
	return func() {
		_ = file.Truncate(0)
		_ = file.Close()
	}, nil
}

// wait polls, because a blocking flock cannot be interrupted by ctx.
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
			log.say("another run (%s) is at it, waiting for it to finish", holder)
			stopBeat = log.heartbeat(func() string { return "still waiting for " + holder })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// holder names the process that wrote its id into the lock file.
func holder(file *os.File) string {
	pid := make([]byte, 20)
	n, _ := file.ReadAt(pid, 0)
	if n == 0 {
		return "just started"
	}
	return "process " + string(pid[:n])
}
