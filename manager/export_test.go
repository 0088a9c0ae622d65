package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut reports whether the gate of a Manager that New returned was shut.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }

// ForgetMetrics removes the Electors of a Lease from the metrics. Each test with fake
// time must call ForgetMetrics at its end, because other tests must not read these
// Electors.
func ForgetMetrics(namespace, name string) { registered().Forget(namespace, name) }

// InnerStopped returns a channel that is closed when the inner Manager has stopped. The
// inner Manager may stop after Start has returned. Call Start before InnerStopped.
func InnerStopped(mgr crmanager.Manager) <-chan struct{} { return mgr.(*electedManager).inner.done }
