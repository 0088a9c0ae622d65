package migration

import (
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// oldManager creates a Manager of controller-runtime. It is the code before the
// migration.
func oldManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, options)
	return mgr, err
}

// newManager creates a Manager of package manager of this module. It is the code after
// the migration from controller-runtime.
func newManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := manager.New(config, options)
	return mgr, err
}
