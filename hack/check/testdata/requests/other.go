package requests

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (s *store) delete(ctx context.Context) error {
	if err := s.get(ctx); err != nil {
		return err
	}
	return s.leases.Delete(ctx, "my-lease", metav1.DeleteOptions{}) // want: the request Delete
}
