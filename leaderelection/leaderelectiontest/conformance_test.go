package leaderelectiontest_test

import (
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/leaderelectiontest/conformance"
)

func TestServer_Conforms(t *testing.T) {
	for _, contentType := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf} {
		for _, test := range conformance.Tests() {
			t.Run(test.Name+" "+contentType, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server := leaderelectiontest.NewServer()
					server.LimitNamespaces("default")
					config := server.Client("test").Config()
					config.ContentType, config.AcceptContentTypes = contentType, contentType
					test.Run(t, conformance.Target{
						Clientset: kubernetes.NewForConfigOrDie(config), Namespace: "default", MissingNamespace: "missing",
					})
					server.Close()
				})
			})
		}
	}
}
