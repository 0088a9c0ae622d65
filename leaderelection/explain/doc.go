// Package explain says of a Lease who leads and since when, whether it is renewed,
// why nobody leads, when it may be claimed at the earliest, who is the heir and
// what happened before, whoever writes it: an Elector of package leaderelection,
// client-go's or controller-runtime's.
//
//	var seen explain.Seen
//	seen = seen.After(lease, time.Now()) // for each state of the Lease, in order
//	fmt.Print(explain.Explain(seen, time.Now()))
//
// An [Answer] is a pure function of what was seen and when. A [Follower] follows a
// Lease in a cluster and keeps contact; [LookForFences] and [LookIntoRights] ask for
// what stands around it. Command hack/explain shows all that as text or JSON.
//
// # What can be known
//
// The times in a Lease are by the clock of whoever wrote them. Only a change that
// was itself seen tells the time by our own clock; until then an Answer is not
// Certain. Where they cannot be gone by, because there are none or they are ahead of
// our clock, a Lease without a change is [Held], which is to say that its holder may
// be dead. Candidates do not go by the times in the Lease either: each waits for
// LeaseDuration after it last saw a change itself.
//
// That nothing was heard says nothing: the leader may renew, and its renewals not
// arrive here. A Lease has expired only if it was looked at after its time and found
// unchanged. So [Seen] wants to be told, too, that nothing has changed; without any
// news for as long as [Patience] an Answer is not Certain, and says so.
//
// Nothing in a Lease is believed beyond what it says: everybody with the right to
// write the Lease can write the annotations, too.
package explain
