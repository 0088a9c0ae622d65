package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut reports whether a Manager that New returned can no longer become leader
// because its gate was shut.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }

// ForgetMetrics removes the Electors of a Lease from the metrics. A test with fake time
// must call ForgetMetrics at its end, because code that runs with real time must not
// read these Electors.
func ForgetMetrics(namespace, name string) { registered().Forget(namespace, name) }

// InnerStopped returns a channel that is closed when the inner Manager has stopped. If
// the grace period expires, the inner Manager stops after Start has returned. Call
// InnerStopped only after Start was called.
func InnerStopped(mgr crmanager.Manager) <-chan struct{} { return mgr.(*electedManager).inner.done }
