package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/haproxy-template-ic/incumbent/hack/lab"
)

// A part is a step of the scenario, for instance the crash of the leader.
type part struct {
	title string
	run   func(*runner, context.Context) error
}

// scenario returns the parts of the scenario. own is true if the demo
// started the control plane. The API server is restarted only if own is true. Without a
// kubelet, the demo can play the kubelet.
func scenario(own bool) []part {
	parts := []part{
		{"First election: three processes start at once", (*runner).firstElection},
		{"Graceful stop: the leader gets SIGTERM", (*runner).gracefulStop},
		{"Crash: the leader gets SIGKILL", (*runner).crash},
		{fmt.Sprintf("Freeze: the leader gets SIGSTOP, and SIGCONT after more than its LeaseDuration (%v)", timing.LeaseDuration), (*runner).freeze},
	}
	if own {
		parts = append(parts,
			part{"Crash with proof of death: the leader gets SIGKILL, and a stand-in for the kubelet reports it", (*runner).crashWithProof},
			part{"Restart of the API server", (*runner).restartAPIServer})
	}
	return append(parts, part{"The end: all replicas get SIGTERM", (*runner).stopAll})
}

// run runs the given parts of the scenario one after the other. Between two parts, the
// replicas work undisturbed for three seconds. run returns an error if a replica exits
// unexpectedly.
func (r *runner) run(ctx context.Context, parts []part) error {
	ctx, r.abort = context.WithCancelCause(ctx)
	defer r.abort(nil)
	for i, p := range parts {
		r.heading(fmt.Sprintf("%d. %s", i+1, p.title))
		if err := p.run(r, ctx); err != nil {
			return err
		}
		if i == len(parts)-1 {
			break
		}
		if err := lab.Sleep(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) firstElection(ctx context.Context) error {
	began := time.Now()
	for _, column := range r.timeline.columns {
		if err := r.start(column); err != nil {
			return err
		}
	}
	return r.awaitSuccessor(ctx, "first election", lab.Event{}, began)
}

func (r *runner) gracefulStop(ctx context.Context) error {
	old, at, err := r.signalLeader(syscall.SIGTERM, "SIGTERM")
	if err != nil {
		return err
	}
	if err := r.awaitSuccessor(ctx, "graceful stop", old, at); err != nil {
		return err
	}
	if err := r.awaitExit(ctx, old.Replica); err != nil {
		return err
	}
	return r.start(column(old.Replica))
}

func (r *runner) crash(ctx context.Context) error {
	old, at, err := r.signalLeader(syscall.SIGKILL, "SIGKILL")
	if err != nil {
		return err
	}
	if err := r.awaitExit(ctx, old.Replica); err != nil {
		return err
	}
	if err := r.awaitSuccessor(ctx, "crash", old, at); err != nil {
		return err
	}
	return r.start(column(old.Replica))
}

// freeze freezes the leader until the leader's Lease has expired and the successor
// works. Then it resumes the frozen process. At this point, a write by the resumed
// process would be harmful.
func (r *runner) freeze(ctx context.Context) error {
	old, at, err := r.signalLeader(syscall.SIGSTOP, "SIGSTOP")
	if err != nil {
		return err
	}
	r.setState(old.Replica, stateFrozen)
	if err := r.awaitSuccessor(ctx, "freeze", old, at); err != nil {
		return err
	}
	remaining := max(time.Second, time.Until(at.Add(timing.LeaseDuration+2*time.Second)))
	if err := lab.Sleep(ctx, remaining); err != nil {
		return err
	}
	r.note("SIGCONT to %s, which was frozen for %.1f s", old.Replica, time.Since(at).Seconds())
	p := r.processes[old.Replica]
	p.MayExit() // the process exits when it wakes, because its Manager has lost the Lease
	r.frozen = freeze{replica: old.Replica, term: old.Term, from: at, to: time.Now()}
	if err := p.Signal(syscall.SIGCONT); err != nil {
		return err
	}
	if r.cluster.Plane != nil {
		_, err := r.journal.Await(ctx, waitTimeout, "the reply to the late write of "+old.Replica, func(e lab.Event) bool {
			return e.Replica == old.Replica && (e.Kind == lateWriteRefused || e.Kind == lateWriteAccepted)
		})
		if err != nil {
			return err
		}
	}
	_, err = r.journal.Await(ctx, waitTimeout, "the end of the work of "+old.Replica, func(e lab.Event) bool {
		return e.Kind == lab.Ended && e.Term == old.Term
	})
	if err != nil {
		return err
	}
	if err := r.awaitExit(ctx, old.Replica); err != nil {
		return err
	}
	return r.start(column(old.Replica))
}

func (r *runner) restartAPIServer(ctx context.Context) error {
	at := time.Now()
	r.note("the API server is stopped")
	server := r.cluster.Plane.APIServer(0)
	if err := server.Stop(); err != nil {
		return err
	}
	stopped := time.Now()
	r.note("the API server is started again")
	if err := server.Start(); err != nil {
		return err
	}
	r.note("the API server is ready, after %.1f s", time.Since(at).Seconds())
	return r.awaitEntry(ctx, "API server restarted", at, func(e lab.Event) bool { return e.At.After(stopped) })
}
