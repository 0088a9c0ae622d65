package main

import (
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/spawn"
)

// process is one replica as an operating-system process.
type process struct {
	*spawn.Process
	identity string
}

// startReplica starts a replica of this very program. Events go to hear, in order;
// the last one, when the process is gone, says so.
func startReplica(identity string, args []string, logs io.Writer, hear func(event)) (*process, error) {
	p, err := spawn.Start(spawn.Spec{
		Args:  args,
		Logs:  logs,
		Read:  func(stdout io.Reader) error { return readEvents(stdout, hear) },
		Ended: func(state string) { hear(event{At: time.Now(), Replica: identity, Kind: exited, Detail: state}) },
	})
	return &process{Process: p, identity: identity}, err
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.Signal(s); err != nil {
		return fmt.Errorf("%s: %w", p.identity, err)
	}
	return nil
}
