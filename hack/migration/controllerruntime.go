package migration

import (
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// oldManager is the code before the migration from controller-runtime.
func oldManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, options)
	return mgr, err
}

// newManager is the code after the migration from controller-runtime.
func newManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := manager.New(config, options)
	return mgr, err
}
