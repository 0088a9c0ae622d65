package envtest_test

import (
	"testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest/conformance"
)

// A real API server must pass the same conformance tests as the in-memory
// server of package leaderelectiontest.
func TestConformance_RealAPIServerPassesTheTests(t *testing.T) {
	t.Parallel()
	cp := shared.get(t)
	for _, test := range conformance.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			t.Parallel()
			test.Run(t, conformance.Target{
				Clientset:        cp.Client("conformance").Clientset(),
				Namespace:        cp.Namespace(t),
				MissingNamespace: "missing",
			})
		})
	}
}
