package explain

import (
	"time"
)

// A State is the state of a Lease.
type State string

// The states of a Lease.
const (
	Unknown     State = "unknown"     // the Lease was not observed yet
	Absent      State = "absent"      // the Lease does not exist
	Unused      State = "unused"      // the Lease has never had a holder
	Free        State = "free"        // the Lease had a holder and has none now
	Led         State = "led"         // the holder renews the Lease
	Overdue     State = "overdue"     // the next renewal of the holder is overdue
	Unconfirmed State = "unconfirmed" // the Lease has a holder, but does not show whether the holder is alive
	Expired     State = "expired"     // the holder has not renewed the Lease for LeaseDuration
)

// A Report describes a Lease. Programs read the JSON form of Reports. Therefore fields
// may be added to a Report, but not renamed or removed.
type Report struct {
	// Lease is the Lease, as namespace/name. State is the state of the Lease at Time. If
	// contact is lost, State is the state at LastContact.
	Lease string    `json:"lease,omitempty"`
	State State     `json:"state"`
	Time  time.Time `json:"time"`

	// Certain is false if contact is lost. It is also false if State depends on the
	// clock of another machine.
	Certain bool `json:"certain"`

	// LastContact is the last time at which the Lease is known to have been in State.
	// It is nil if the Lease was not observed. ContactLost is true if at least
	// SilenceTimeout has passed since LastContact.
	LastContact *time.Time `json:"lastContact,omitempty"`
	ContactLost bool       `json:"contactLost,omitempty"`

	// Holder is the identity of the holder in the Lease. Acquired is the acquireTime that
	// the holder wrote. The holder leads if State is Led or Overdue. If State is
	// Unconfirmed, it is not known whether the holder leads.
	Holder   string     `json:"holder,omitempty"`
	Acquired *time.Time `json:"acquired,omitempty"`

	// Reason explains why nobody leads, why it is not known who leads, or why the
	// leader may soon lose the Lease.
	Reason string `json:"reason,omitempty"`

	// Renewal describes the renewals of the Lease. It is nil if the Lease has no holder.
	Renewal *Renewal `json:"renewal,omitempty"`

	// Claim describes when another candidate may claim the Lease. It is nil if that time
	// is not known.
	Claim *Claim `json:"claim,omitempty"`

	// EarlyClaim describes whether a candidate with proof of death may claim the Lease
	// before it expires. It is nil if nobody holds the Lease, or if this was not checked,
	// see [Report.SetEarlyClaim].
	EarlyClaim *EarlyClaim `json:"earlyClaim,omitempty"`

	// Successor is the identity of the follower that claims first when the Lease is
	// released. Only Electors of package leaderelection nominate a successor.
	Successor string `json:"successor,omitempty"`

	// Terms are the recent terms, oldest first. Only Electors of package leaderelection
	// record terms in the Lease.
	Terms []Term `json:"terms,omitempty"`

	// Writer is the program that last wrote the Lease.
	Writer Writer `json:"writer"`

	// ResourceVersion is the Lease's resourceVersion. LeaseTransitions is the number of
	// changes of the holder, as stored in the Lease.
	ResourceVersion  string `json:"resourceVersion,omitempty"`
	LeaseTransitions int32  `json:"leaseTransitions"`

	// Notes are further findings, such as a former holder that may still be at work.
	Notes []string `json:"notes,omitempty"`

	// stableReason and stableNotes are copies of Reason and Notes in which every
	// duration is 0. The method Same compares the copies, because durations grow even
	// if the Lease does not change.
	stableReason string
	stableNotes  []string

	// NamespaceMissing is true if the Lease's namespace does not exist, see
	// [Report.SetNamespaceMissing].
	NamespaceMissing bool `json:"namespaceMissing,omitempty"`

	// Rights is the result of [CheckRights], and Fences is the result of [FindFences].
	// Explain does not set these two fields.
	Rights *Rights `json:"rights,omitempty"`
	Fences *Fences `json:"fences,omitempty"`
}

// A Renewal describes how a Lease is renewed.
type Renewal struct {
	// RenewTime is the renewTime that the holder wrote into the Lease.
	RenewTime *time.Time `json:"renewTime,omitempty"`

	// AgeSeconds is how old the last renewal was at the last contact. If a change was
	// observed, AgeSeconds is measured with this machine's clock. If no change was
	// observed, AgeSeconds is calculated from RenewTime. In this case, AgeSeconds is nil
	// if RenewTime is missing or ahead of this machine's clock.
	AgeSeconds *float64 `json:"ageSeconds,omitempty"`

	// UnchangedSeconds is how long the Lease had been unchanged at the last contact, by
	// this machine's clock. The last renewal is at least this old.
	UnchangedSeconds float64 `json:"unchangedSeconds"`

	// LongestIntervalSeconds is the longest time between two consecutive observed
	// renewals. It is 0 if fewer than two renewals were observed.
	LongestIntervalSeconds float64 `json:"longestIntervalSeconds,omitempty"`

	// LeaseDurationSeconds is the time from the last renewal to the expiry of the
	// Lease.
	LeaseDurationSeconds float64 `json:"leaseDurationSeconds"`
}

// A Claim describes when a Lease may be claimed.
type Claim struct {
	// From is the earliest time at which the Lease may be claimed. This time is valid
	// only if the Lease does not change before.
	From time.Time `json:"from"`

	// Note describes a condition for the claim, or which candidates may claim the Lease
	// at the time From.
	Note string `json:"note,omitempty"`
}

// A Term is a period in which a candidate held the Lease. The times in a Term come from
// the clocks of the processes that wrote the Lease.
type Term struct {
	// Holder is the identity of the candidate that held the Lease from Acquired on.
	Holder   string    `json:"holder"`
	Acquired time.Time `json:"acquired"`

	// Renewed is the time of the last renewal, or of the release. It is nil if the term
	// continues, or if the time was not recorded.
	Renewed *time.Time `json:"renewed,omitempty"`

	// End is how the term ended. "released" means that the holder's work had stopped
	// before the Lease was released. "unannotated" means that the Lease was released
	// without the annotation that confirms the end of the work. In this case the work
	// may have continued. "expired" means that the holder did not renew the Lease in
	// time. "terminated" means that the next leader had proof that the holder's process
	// had ended. "" means that the term continues, or that its end was not recorded.
	End string `json:"end,omitempty"`
}

// A Writer is the program that writes a Lease.
type Writer struct {
	// Incumbent is true if the program uses an Elector of package leaderelection.
	Incumbent bool `json:"incumbent"`

	// FieldManager is the field manager under which the program last wrote renewTime.
	// It is "" if the field manager is not known.
	FieldManager string `json:"fieldManager,omitempty"`
}

// NobodyLeads reports whether the Lease has no leader. It returns false if it is not
// known whether the Lease has a leader. If contact is lost, the result describes the
// Lease at the last contact.
func (r Report) NobodyLeads() bool {
	switch r.State {
	case Led, Overdue, Unconfirmed, Unknown:
		return false
	default:
		return true
	}
}
