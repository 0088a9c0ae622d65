package simulation

import (
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
)

// maxWriteDelay is the longest time after the end of the faults at which a
// delayed write can still arrive.
const maxWriteDelay = 20 * time.Second

// awaitStableLeader checks that one replica becomes the leader after the faults
// have ended. The durations of the schedule's configuration limit how long this
// may take. The replica must then remain the leader for one LeaseDuration.
func (c *cluster) awaitStableLeader() {
	config := c.config
	healed := time.Since(c.trace.start)
	if slices.ContainsFunc(c.running(), func(rep *replica) bool { return !rep.callbacks.checked }) {
		healed += config.LeaseDuration + config.RenewDeadline // with client-go, two leaders may overlap for this time after the faults
	}
	c.advanceTo(healed + config.Window()) // the replica that leads when the faults end may still lose its term
	bound := healed + config.LeaseDuration + 4*config.RetryPeriod + max(time.Second, config.RenewDeadline/2) + maxWriteDelay
	var leader *replica
	for leader == nil && time.Since(c.trace.start) < bound {
		c.advanceTo(time.Since(c.trace.start) + step)
		if rep := c.referee.soleWorker(); rep != nil && rep.callbacks.contextLive() { // a cancelled context means that the term was lost
			leader = rep
		}
	}
	r := c.referee
	if leader == nil {
		r.violated(c.replicas[0], "no leader %v after the faults ended", time.Since(c.trace.start)-healed)
		return
	}
	for end := time.Since(c.trace.start) + config.LeaseDuration; time.Since(c.trace.start) < end; {
		c.advanceTo(time.Since(c.trace.start) + step)
		if now := r.soleWorker(); now != leader {
			r.violated(leader, "lost leadership after the faults ended")
			return
		}
	}
}

// checkWrites checks each accepted write of an Elector:
//
//   - The write must not claim a Lease that another candidate holds. With kubelets, it
//     may claim the Lease of a process that has ended.
//   - The write must not release another candidate's term.
//   - The write must not release the Lease while the Elector's own work runs.
func (c *cluster) checkWrites() {
	changed := c.trace.start // the time of the last change of the Lease's spec
	writer := ""             // the client that last changed the spec
	var last *coordinationv1.Lease
	for _, write := range c.server.History() {
		if write.Before != last {
			changed, writer = c.trace.start, "" // the server was restored from a backup
		}
		last = write.After
		rep := c.replicaOf(write.Client)
		before, after := leaderelectiontest.Holder(write.Before), leaderelectiontest.Holder(write.After)
		switch {
		case rep == nil || !rep.callbacks.checked || write.After == nil:
		case after == "" && before != "" && writer != rep.name && writer != "":
			c.referee.violatedByWrite(write, "%s released a term that %q claimed", rep.name, writer)
		case after == "" && before != "" && c.referee.worked(rep, write.Time):
			c.referee.violatedByWrite(write, "%s released the Lease while its work was running", rep.name)
		case c.historyRewound:
		case after == rep.identity && c.kubelets != nil && before != "" && writer != rep.name && c.referee.hasEnded(c.replicaOf(writer), write.Time):
			if write.Time.Sub(changed) < time.Duration(*write.Before.Spec.LeaseDurationSeconds)*time.Second {
				c.referee.proofs++
			}
		case after == rep.identity && before != "" && writer != rep.name && writer != "" &&
			write.Time.Sub(changed) < time.Duration(*write.Before.Spec.LeaseDurationSeconds)*time.Second:
			c.referee.violatedByWrite(write, "%s claimed a Lease whose spec had changed only %v before", rep.name, write.Time.Sub(changed))
		}
		if write.Before == nil || write.After == nil || !equality.Semantic.DeepEqual(write.Before.Spec, write.After.Spec) {
			changed, writer = write.Time, write.Client
		}
	}
}

// replicaOf returns the replica that uses this client, or nil.
func (c *cluster) replicaOf(client string) *replica {
	for _, rep := range c.replicas {
		if rep.name == client {
			return rep
		}
	}
	return nil
}
