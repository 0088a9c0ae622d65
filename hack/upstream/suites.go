//go:build suites

package main

// The suites import these packages. The imports keep the modules of these packages in
// go.mod, so that their versions are pinned.
import (
	_ "github.com/go-logr/zapr"
	_ "github.com/onsi/ginkgo/v2"
	_ "github.com/onsi/gomega"
	_ "github.com/onsi/gomega/gbytes"
	_ "github.com/onsi/gomega/gexec"
	_ "go.uber.org/goleak"
	_ "sigs.k8s.io/controller-runtime/pkg/builder"
	_ "sigs.k8s.io/controller-runtime/pkg/envtest"
	_ "sigs.k8s.io/controller-runtime/pkg/log/zap"

	_ "github.com/haproxy-template-ic/incumbent/manager"
)
