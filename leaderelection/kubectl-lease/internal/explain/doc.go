// Package explain reports who leads a Lease and since when, and whether the holder
// renews the Lease. If nobody leads, it reports why, and when the Lease may be claimed
// at the earliest. The package also reports the successor and the recent terms. It
// works with the Leases of every elector: package leaderelection, client-go and
// controller-runtime.
//
//	var observed explain.Observed
//	observed = observed.With(lease, time.Now()) // for each state of the Lease, in order
//	fmt.Print(explain.Explain(observed, time.Now()))
//
// A [Report] depends only on the observations and on the current time. A [Watcher]
// observes a Lease in a cluster: it watches the Lease and also reads it. [FindFences]
// and [CheckRights] return the policies and the rights that concern the Lease.
//
// # What can be known
//
// The times in a Lease come from the clock of the process that wrote them. If a renewal
// was observed as a change, this machine's clock gives the age of the renewal. A Report
// about a held Lease becomes Certain when a change is observed, or when the Lease has
// been unchanged for LeaseDuration. Until then, the state of the Lease is [Unconfirmed]
// if the times in the Lease are missing or ahead of this machine's clock. In this case
// the holder may be dead. Candidates do not rely on the times in the Lease either. Each
// candidate waits for LeaseDuration after the last change that it observed.
//
// The absence of events does not show that the leader has stopped, because the watch
// may be broken while the leader renews the Lease. A Lease has certainly expired only
// if a read after the end of its LeaseDuration shows that the Lease is unchanged.
// Therefore also add observations of an unchanged Lease to [Observed]. After
// [SilenceTimeout] without contact, a Report is not Certain, and its text contains the
// time of the last contact.
//
// The content of a Lease may be false, because every user with the right to update the
// Lease can write any content into it.
package explain
