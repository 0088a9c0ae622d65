// Package explain reports who leads a Lease and since when, whether the holder renews
// it, why nobody leads, when the Lease may be claimed at the earliest, who the
// successor is and what happened before. It works for every elector: that of package
// leaderelection, client-go's or controller-runtime's.
//
//	var observed explain.Observed
//	observed = observed.With(lease, time.Now()) // for each state of the Lease, in order
//	fmt.Print(explain.Explain(observed, time.Now()))
//
// A [Report] is a pure function of the observations and the present time. A [Watcher]
// watches a Lease in a cluster and keeps contact. [FindFences] and [CheckRights] ask
// the API server about the policies and the Roles that concern the Lease.
//
// # What can be known
//
// The times in a Lease come from the clock of the process that wrote them. Only a
// change that was observed gives a time by this machine's clock; until then a Report
// is not Certain. If the times in the Lease are missing or ahead of this machine's
// clock, they prove nothing: such a Lease is [Unconfirmed] until a change is observed,
// because its holder may be dead. Candidates do not rely on the times in the Lease
// either: each waits for LeaseDuration after the last change that it observed.
//
// Silence proves nothing: the leader may renew the Lease while its renewals do not
// arrive here. A Lease has expired only if it was read after its time had run out and
// was unchanged. [Observed] must therefore also be told that nothing has changed.
// After [SilenceTimeout] without contact a Report is not Certain, and its text states that.
//
// A Lease proves no more than what it contains: everybody with the right to update the
// Lease can also write its annotations.
package explain
