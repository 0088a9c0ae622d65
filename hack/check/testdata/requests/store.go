package requests

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
)

type store struct {
	leases coordinationclient.LeaseInterface
}

func (s *store) get(ctx context.Context) error {
	_, err := s.leases.Get(ctx, "my-lease", metav1.GetOptions{})
	return err
}
