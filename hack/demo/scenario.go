package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// An act is one part of the demonstration.
type act struct {
	title string
	play  func(*director, context.Context) error
}

// scenario lists the acts. The API server is restarted only if it is ours.
func scenario(own bool) []act {
	acts := []act{
		{"First election: three processes start at once", (*director).firstElection},
		{"Graceful stop: the leader gets SIGTERM", (*director).gracefulStop},
		{"Crash: the leader gets SIGKILL", (*director).crash},
		{fmt.Sprintf("Freeze: the leader gets SIGSTOP, and SIGCONT when more than the lease (%v) has passed", timing.LeaseDuration), (*director).freeze},
	}
	if own {
		acts = append(acts, act{"Restart of the API server", (*director).restartAPIServer})
	}
	return append(acts, act{"The end: all get SIGTERM", (*director).stopAll})
}

// play runs the acts, with a while of ordinary work between them. It ends early
// when a replica does.
func (d *director) play(ctx context.Context, acts []act) error {
	ctx, d.abort = context.WithCancelCause(ctx)
	defer d.abort(nil)
	for i, a := range acts {
		d.heading(fmt.Sprintf("%d. %s", i+1, a.title))
		if err := a.play(d, ctx); err != nil {
			return err
		}
		if i == len(acts)-1 {
			break
		}
		if err := d.watch(ctx, 3*time.Second); err != nil {
			return err
		}
	}
	return nil
}

func (d *director) firstElection(ctx context.Context) error {
	began := time.Now()
	for _, column := range d.timeline.columns {
		if err := d.start(column); err != nil {
			return err
		}
	}
	return d.awaitSuccessor(ctx, "first election", event{}, began)
}

func (d *director) gracefulStop(ctx context.Context) error {
	old, at, err := d.strike(syscall.SIGTERM, "SIGTERM")
	if err != nil {
		return err
	}
	if err := d.awaitSuccessor(ctx, "graceful stop", old, at); err != nil {
		return err
	}
	if err := d.awaitGone(ctx, old.Replica); err != nil {
		return err
	}
	return d.start(column(old.Replica))
}

func (d *director) crash(ctx context.Context) error {
	old, at, err := d.strike(syscall.SIGKILL, "SIGKILL")
	if err != nil {
		return err
	}
	if err := d.awaitGone(ctx, old.Replica); err != nil {
		return err
	}
	if err := d.awaitSuccessor(ctx, "crash", old, at); err != nil {
		return err
	}
	return d.start(column(old.Replica))
}

// freeze lets the leader go when its lease has long run out and its successor is
// at work: the moment at which a stale leader does harm.
func (d *director) freeze(ctx context.Context) error {
	old, at, err := d.strike(syscall.SIGSTOP, "SIGSTOP")
	if err != nil {
		return err
	}
	d.mark(old.Replica, stateFrozen)
	if err := d.awaitSuccessor(ctx, "freeze", old, at); err != nil {
		return err
	}
	rest := max(time.Second, time.Until(at.Add(timing.LeaseDuration+2*time.Second)))
	if err := d.watch(ctx, rest); err != nil {
		return err
	}
	d.say("SIGCONT to %s, which was frozen for %.1f s", old.Replica, time.Since(at).Seconds())
	d.mayEnd.Store(old.Replica, true) // a manager that lost its Lease ends, for its controllers cannot be started twice
	d.frozen = wakening{replica: old.Replica, term: old.Term, frozen: at, awake: time.Now()}
	if err := d.processes[old.Replica].signal(syscall.SIGCONT); err != nil {
		return err
	}
	if d.cluster.own != nil {
		_, err := d.record.Await(ctx, patience, "the answer to what "+old.Replica+" writes past its elector", func(e event) bool {
			return e.Replica == old.Replica && (e.Kind == fencedOff || e.Kind == tooLate)
		})
		if err != nil {
			return err
		}
	}
	_, err = d.record.Await(ctx, patience, old.Replica+" to stop its work", func(e event) bool {
		return e.Kind == ended && e.Term == old.Term
	})
	if err != nil {
		return err
	}
	if err := d.awaitGone(ctx, old.Replica); err != nil {
		return err
	}
	return d.start(column(old.Replica))
}

func (d *director) restartAPIServer(ctx context.Context) error {
	at := time.Now()
	d.say("the API server is stopped")
	server := d.cluster.own.APIServer(0)
	if err := server.Stop(); err != nil {
		return err
	}
	stopped := time.Now()
	d.say("the API server is started again")
	if err := server.Start(); err != nil {
		return err
	}
	d.say("the API server is ready, after %.1f s", time.Since(at).Seconds())
	return d.awaitEntry(ctx, "API server restarted", at, func(e event) bool { return e.At.After(stopped) })
}
