package manager

import crmanager "sigs.k8s.io/controller-runtime/pkg/manager"

// GateIsShut tells tests whether a Manager of ours can still be elected.
func GateIsShut(mgr crmanager.Manager) bool { return mgr.(*electedManager).gate.isShut() }
