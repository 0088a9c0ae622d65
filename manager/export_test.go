package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut tells tests whether a Manager of ours can still be elected.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }

// ForgetMetrics lets go of the Electors of a test in fake time: they may not be
// looked at from outside.
func ForgetMetrics(namespace, name string) { registered().Forget(namespace, name) }
