package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// InnerStopped tells tests when controller-runtime's Manager has stopped that
// stands in one of ours: after a grace period that ran out, that is later than
// Start returns. Call it after Start was called.
func InnerStopped(mgr crmanager.Manager) <-chan struct{} { return mgr.(*electedManager).inner.done }
