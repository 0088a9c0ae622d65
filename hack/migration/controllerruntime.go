package migration

import (
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/haproxy-template-ic/incumbent/manager"

	"k8s.io/client-go/rest"
)

func newManagers(config *rest.Config, options ctrl.Options) error {
	// from
	if _, err := ctrl.NewManager(config, options); err != nil {
		return err
	}
	// to
	if _, err := manager.New(config, options); err != nil {
		return err
	}
	return nil
}
