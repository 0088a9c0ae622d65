package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut reports whether the election of a Manager that New returned cannot win any
// more.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }

// ForgetMetrics removes the Electors of a Lease from the metrics. The Electors of a test
// with fake time must not be read from outside of it.
func ForgetMetrics(namespace, name string) { registered().Forget(namespace, name) }

// InnerStopped returns a channel that is closed when the inner Manager has stopped. After
// an expired grace period that is later than the return of Start. Call it after Start.
func InnerStopped(mgr crmanager.Manager) <-chan struct{} { return mgr.(*electedManager).inner.done }
