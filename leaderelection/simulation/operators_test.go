package simulation

import (
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// operators lets people edit the Lease by hand.
func (s *schedule) operators(rng *rand.Rand) {
	edit := func(tampers bool, change func(*coordinationv1.Lease)) func(*world) {
		return func(w *world) {
			if tampers {
				w.referee.tamper()
			}
			_ = w.server.Edit(w.config.LeaseNamespace, w.config.LeaseName, change) // there may be none
		}
	}
	for _, at := range times(rng, 45*time.Second) {
		seconds, stranger := int32(1+rng.IntN(30)), "stranger"
		switch rng.IntN(7) {
		case 0:
			s.add(at, "somebody deletes the Lease", func(w *world) {
				w.referee.tamper()
				_ = w.server.Delete(w.config.LeaseNamespace, w.config.LeaseName) // there may be none
			})
		case 1:
			s.add(at, "somebody gives the Lease away", edit(true, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &stranger }))
		case 2:
			s.add(at, "somebody frees the Lease", edit(true, func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }))
		case 3:
			s.add(at, "somebody empties the Lease", edit(true, func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} }))
		case 4:
			s.add(at, "somebody edits the duration", edit(true, func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &seconds }))
		default:
			s.add(at, "somebody edits metadata", edit(false, func(l *coordinationv1.Lease) {
				l.Annotations = map[string]string{"example.com/edited": at.String()}
			}))
		}
	}
}

// rewinds restores the server from backups.
func (s *schedule) rewinds(rng *rand.Rand) {
	s.add(0, "a backup is made", func(w *world) { w.backup = w.server.Snapshot() })
	for _, at := range times(rng, 60*time.Second) {
		if rng.IntN(3) == 0 {
			s.add(at, "a backup is restored", func(w *world) {
				w.rewound = true
				w.server.Restore(w.backup)
			})
			continue
		}
		s.add(at, "a backup is made", func(w *world) { w.backup = w.server.Snapshot() })
	}
}
