package explain

import (
	"time"
)

// A State is the state of a Lease.
type State string

// The states.
const (
	Unknown     State = "unknown"     // nothing was observed yet
	Absent      State = "absent"      // the Lease does not exist
	Unused      State = "unused"      // it has never had a holder
	Free        State = "free"        // it has no holder any more
	Led         State = "led"         // its holder renews it
	Overdue     State = "overdue"     // it has a holder, whose next renewal is overdue
	Unconfirmed State = "unconfirmed" // it has a holder, and nothing shows whether the holder is alive
	Expired     State = "expired"     // its holder has not renewed it for LeaseDuration
)

// A Report describes a Lease. Its JSON form is read by programs: fields are added, but
// not renamed or removed.
type Report struct {
	// Lease is its namespace and name. State is its state at Time or, if contact is
	// lost, at LastContact.
	Lease string    `json:"lease,omitempty"`
	State State     `json:"state"`
	Time  time.Time `json:"time"`

	// Certain is false while contact is lost, and while State depends on the clock of
	// another machine.
	Certain bool `json:"certain"`

	// LastContact is until when the Lease is known to have been in State; nil if it
	// was not observed. ContactLost means that this is SilenceTimeout ago or longer.
	LastContact *time.Time `json:"lastContact,omitempty"`
	ContactLost bool       `json:"contactLost,omitempty"`

	// Holder is the identity that the Lease names, Acquired is the acquireTime that it
	// wrote. A holder leads if State is Led or Overdue. If State is Unconfirmed, it is
	// not known whether it leads.
	Holder   string     `json:"holder,omitempty"`
	Acquired *time.Time `json:"acquired,omitempty"`

	// Reason explains why nobody leads, why that is not known, or what endangers the
	// leader.
	Reason string `json:"reason,omitempty"`

	// Renewal describes the renewals; nil if there is no holder.
	Renewal *Renewal `json:"renewal,omitempty"`

	// Claim is when another candidate may claim the Lease; nil if that is not known.
	Claim *Claim `json:"claim,omitempty"`

	// Successor claims first when the Lease becomes free. Only Electors of package
	// leaderelection nominate one.
	Successor string `json:"successor,omitempty"`

	// Terms are the recent terms, oldest first, as Electors of package leaderelection
	// recorded them.
	Terms []Term `json:"terms,omitempty"`

	// Writer is the program that wrote the Lease.
	Writer Writer `json:"writer"`

	// ResourceVersion is the Lease's resourceVersion. LeaseTransitions is how often
	// its holder has changed, as the holders counted.
	ResourceVersion  string `json:"resourceVersion,omitempty"`
	LeaseTransitions int32  `json:"leaseTransitions"`

	// Notes are further findings, such as a former holder that may still be at work.
	Notes []string `json:"notes,omitempty"`

	// The same texts without durations, which grow while nothing happens.
	stableReason string
	stableNotes  []string

	// NamespaceMissing means that the Lease's namespace does not exist, see
	// [Report.SetNamespaceMissing].
	NamespaceMissing bool `json:"namespaceMissing,omitempty"`

	// Rights and Fences are set by callers that asked the API server for them.
	Rights *Rights `json:"rights,omitempty"`
	Fences *Fences `json:"fences,omitempty"`
}

// A Renewal describes how a Lease is renewed.
type Renewal struct {
	// RenewTime is the renewTime that the holder wrote.
	RenewTime *time.Time `json:"renewTime,omitempty"`

	// AgeSeconds is how old the last renewal was at the last contact: by this
	// machine's clock if a change was observed, otherwise by the holder's. It is nil
	// if neither clock gives the age: no change was observed, and RenewTime is missing
	// or ahead of this machine's clock.
	AgeSeconds *float64 `json:"ageSeconds,omitempty"`

	// UnchangedSeconds is for how long the Lease was known to be unchanged at the last
	// contact, by this machine's clock. The last renewal is at least that old.
	UnchangedSeconds float64 `json:"unchangedSeconds"`

	// LongestIntervalSeconds is the longest time between two renewals that were
	// observed, 0 if there were none.
	LongestIntervalSeconds float64 `json:"longestIntervalSeconds,omitempty"`

	// LeaseDurationSeconds is the age of the last renewal at which the Lease expires.
	LeaseDurationSeconds float64 `json:"leaseDurationSeconds"`
}

// A Claim is when a Lease may be claimed.
type Claim struct {
	// From is the earliest time, unless something changes.
	From time.Time `json:"from"`

	// Note names the candidates and conditions for which that holds.
	Note string `json:"note,omitempty"`
}

// A Term is a time in which a candidate held the Lease, by the clocks of the processes
// that wrote the Lease.
type Term struct {
	// Holder held the Lease from Acquired on.
	Holder   string    `json:"holder"`
	Acquired time.Time `json:"acquired"`

	// Renewed is the last renewal, or the release; nil for the present term, and if it
	// was not recorded.
	Renewed *time.Time `json:"renewed,omitempty"`

	// End is how the term ended: "released" (the work had stopped), "unannotated"
	// (released without annotation: the work may have gone on), "expired" (not
	// renewed), or "" if the term goes on or its end was not recorded.
	End string `json:"end,omitempty"`
}

// A Writer is the program that writes a Lease.
type Writer struct {
	// Incumbent means that it uses an Elector of package leaderelection.
	Incumbent bool `json:"incumbent"`

	// FieldManager is the program's name for itself, "" if that is not known.
	FieldManager string `json:"fieldManager,omitempty"`
}

// NobodyLeads reports whether the Lease is known to have no leader or, if contact is
// lost, to have had none at the last contact.
func (r Report) NobodyLeads() bool {
	switch r.State {
	case Led, Overdue, Unconfirmed, Unknown:
		return false
	default:
		return true
	}
}
