package simulation

import (
	"math/rand/v2"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
)

// operators lets people edit the Lease by hand.
func (s *schedule) operators(rng *rand.Rand) {
	name := func(holder string) func(*coordinationv1.Lease) {
		return func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = &holder }
	}
	for _, at := range times(rng, 45*time.Second) {
		seconds := int32(1 + rng.IntN(30))
		switch rng.IntN(7) {
		case 0:
			s.add(at, "somebody deletes the Lease", func(w *world) {
				w.referee.tamper("deletion", func() error { return w.server.Delete(w.config.LeaseNamespace, w.config.LeaseName) })
			})
		case 1:
			s.edit(at, "gift", name("stranger"))
		case 2:
			s.edit(at, "liberation", name(""))
		case 3:
			s.edit(at, "emptying", func(l *coordinationv1.Lease) { l.Spec = coordinationv1.LeaseSpec{} })
		case 4:
			s.edit(at, "change of duration", func(l *coordinationv1.Lease) { l.Spec.LeaseDurationSeconds = &seconds })
		default:
			s.edit(at, "", func(l *coordinationv1.Lease) { l.Labels = map[string]string{"example.com/edited": at.String()} })
		}
	}
}

// edit changes the Lease by hand. A change that can be to blame has a name.
func (s *schedule) edit(at time.Duration, how string, change func(*coordinationv1.Lease)) {
	s.add(at, "somebody edits the Lease: "+how, func(w *world) {
		w.referee.tamper(how, func() error { return w.server.Edit(w.config.LeaseNamespace, w.config.LeaseName, change) })
	})
}

// rewinds restores the server from backups.
func (s *schedule) rewinds(rng *rand.Rand) {
	s.add(0, "a backup is made", func(w *world) { w.backup = w.server.Snapshot() })
	for _, at := range times(rng, 60*time.Second) {
		if rng.IntN(3) == 0 {
			s.add(at, "a backup is restored", func(w *world) {
				w.rewound = true
				w.referee.tamper("restored backup", func() error { w.server.Restore(w.backup); return nil })
			})
			continue
		}
		s.add(at, "a backup is made", func(w *world) { w.backup = w.server.Snapshot() })
	}
}
