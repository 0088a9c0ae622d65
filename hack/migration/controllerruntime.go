package migration

import (
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/haproxy-template-ic/incumbent/manager"
)

// theirManager is where one comes from.
func theirManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := ctrl.NewManager(config, options)
	return mgr, err
}

// ourManager is where one comes to.
func ourManager(config *rest.Config, options ctrl.Options) (ctrl.Manager, error) {
	mgr, err := manager.New(config, options)
	return mgr, err
}
