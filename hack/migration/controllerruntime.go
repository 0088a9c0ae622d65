package migration

import (
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// oldManager creates a Manager with controller-runtime. It shows the code of a program
// before the migration.
func oldManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, options)
	return mgr, err
}

// newManager creates a Manager with package manager of this module. It shows the code of
// the program after the migration from controller-runtime.
func newManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := manager.New(config, options)
	return mgr, err
}
