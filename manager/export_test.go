package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut reports whether the gate of a Manager that New returned was shut.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }

// Register registers metrics of Electors with a registry.
var Register = register

// InnerStopped returns a channel that is closed when the inner Manager has stopped. The
// inner Manager may stop after Start has returned. Call Start before InnerStopped.
func InnerStopped(mgr crmanager.Manager) <-chan struct{} { return mgr.(*electedManager).inner.done }
