package explain

import (
	"time"
)

// A State is what a Lease is in.
type State string

// The states.
const (
	Unknown State = "unknown" // nothing was seen yet
	Absent  State = "absent"  // there is no Lease
	Unused  State = "unused"  // nobody has ever held it
	Free    State = "free"    // its last holder has left
	Led     State = "led"     // it is renewed
	Late    State = "late"    // it is held, and a renewal is overdue
	Held    State = "held"    // it names a holder, and nothing tells whether he renews it
	Expired State = "expired" // it names a holder whose time has run out
)

// An Answer says what there is to say of a Lease.
type Answer struct {
	// Lease is its name, State what it is in, at the moment At; if contact is Lost,
	// what it was in when it was heard of last.
	Lease string    `json:"lease,omitempty"`
	State State     `json:"state"`
	At    time.Time `json:"at"`

	// Certain is false if contact is Lost, and as long as State rests on the clock of
	// whoever wrote the Lease: that of another machine.
	Certain bool `json:"certain"`

	// Heard is until when the Lease is known to have been like that; nil if it was
	// not looked at. Contact is Lost when that is longer ago than Patience.
	Heard *time.Time `json:"heard,omitempty"`
	Lost  bool       `json:"lost,omitempty"`

	// Leader holds the Lease, Since is when he says to have acquired it. With Held it
	// is not known whether he leads; with Expired he is the last one, and leads no more.
	Leader string     `json:"leader,omitempty"`
	Since  *time.Time `json:"since,omitempty"`

	// Why says why nobody leads, why that is not known, or what endangers who leads.
	Why string `json:"why,omitempty"`

	// Renewal is how the Lease is renewed; nil if nobody holds it.
	Renewal *Renewal `json:"renewal,omitempty"`

	// Claim is when the next candidate may have it; nil if that is not known, as when
	// contact is Lost, and with Held.
	Claim *Claim `json:"claim,omitempty"`

	// Heir claims first when the Lease becomes free. There is none on a Lease that
	// is led by another program.
	Heir string `json:"heir,omitempty"`

	// Terms are the recent ones, oldest first, as our electors noted them.
	Terms []Term `json:"terms,omitempty"`

	// Writer is who wrote the Lease: the elector, as far as can be told, and the
	// program's name for itself.
	Writer Writer `json:"writer"`

	// Version is the Lease's resourceVersion. Transitions is how often its holder
	// changed, as its holders counted.
	Version     string `json:"resourceVersion,omitempty"`
	Transitions int32  `json:"transitions"`

	// Notes are what else is odd, as that another one than the Leader may be at work.
	Notes []string `json:"notes,omitempty"`

	// Of Why and Notes, these are what does not run with the time.
	steadyWhy   string
	steadyNotes []string

	// NamespaceAbsent is whether not even the Lease's namespace is there, if somebody
	// has asked, see [Answer.LacksNamespace].
	NamespaceAbsent bool `json:"namespaceAbsent,omitempty"`

	// Rights and Fences are filled in by those who have asked the API server.
	Rights *Rights `json:"rights,omitempty"`
	Fences *Fences `json:"fences,omitempty"`
}

// A Renewal is how a Lease is renewed.
type Renewal struct {
	// Last is when the holder says to have renewed it last.
	Last *time.Time `json:"last,omitempty"`

	// AgeSeconds is how long ago that was when the Lease was heard of last, by our own
	// clock if a change was seen, or else by the holder's. It is nil if neither tells:
	// no change was seen, and Last is missing or ahead of our clock.
	AgeSeconds *float64 `json:"ageSeconds,omitempty"`

	// UnchangedSeconds is for how long the Lease was known to be as it was when it was
	// heard of last, by our own clock. Its last renewal is no newer than that.
	UnchangedSeconds float64 `json:"unchangedSeconds"`

	// EverySeconds is the longest time between two renewals that were seen, 0 if
	// there were none.
	EverySeconds float64 `json:"everySeconds,omitempty"`

	// LeaseDurationSeconds is how long it lives without.
	LeaseDurationSeconds float64 `json:"leaseDurationSeconds"`
}

// A Claim is when a Lease may be claimed.
type Claim struct {
	// From is the earliest moment, unless something changes.
	From time.Time `json:"from"`

	// Note says what else holds.
	Note string `json:"note,omitempty"`
}

// A Term is a time in which somebody held the Lease, by the clocks of those who
// wrote it.
type Term struct {
	// Leader held it from Acquired on.
	Leader   string    `json:"leader"`
	Acquired time.Time `json:"acquired"`

	// Renewed is the last renewal, or the release; nil for the present term, and if
	// nobody noted it.
	Renewed *time.Time `json:"renewed,omitempty"`

	// End is how it ended: released (the work had stopped), freed (without our
	// mark), expired (not renewed), or "" if it goes on or nobody noted it.
	End string `json:"end,omitempty"`
}

// A Writer is who writes a Lease.
type Writer struct {
	// Incumbent is whether it is an Elector of package leaderelection.
	Incumbent bool `json:"incumbent"`

	// FieldManager is what the program calls itself, "" if that is not known.
	FieldManager string `json:"fieldManager,omitempty"`
}

// Nobody reports whether nobody leads; if contact is Lost, whether nobody did when
// the Lease was heard of last.
func (a Answer) Nobody() bool {
	switch a.State {
	case Led, Late, Held, Unknown:
		return false
	default:
		return true
	}
}
