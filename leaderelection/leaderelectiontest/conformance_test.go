package leaderelectiontest_test

import (
	"testing"
	"testing/synctest"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest/conformance"
)

func TestServer_Conforms(t *testing.T) {
	for _, test := range conformance.Tests() {
		t.Run(test.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server := leaderelectiontest.NewServer()
				server.LimitNamespaces("default")
				test.Run(t, conformance.Target{
					Clientset: server.Client("test").Clientset(), Namespace: "default", MissingNamespace: "missing",
				})
				server.Close()
			})
		})
	}
}
