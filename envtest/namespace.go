package envtest

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Namespace creates a namespace for the test and returns its name. The
// namespace exists until the control plane is stopped. The control plane has no
// controller that could delete the objects in a namespace.
func (cp *ControlPlane) Namespace(tb testing.TB) string {
	tb.Helper()
	prefix := notInNames.ReplaceAllString(strings.ToLower(tb.Name()), "-")
	prefix = strings.Trim(prefix[:min(len(prefix), 50)], "-")
	ctx, cancel := context.WithTimeout(tb.Context(), requestTimeout)
	defer cancel()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix + "-"}}
	namespace, err := cp.admin.Clientset().CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{})
	if err != nil {
		tb.Fatalf("creating a namespace: %v", err)
	}
	return namespace.Name
}

// requestTimeout is the timeout of setup and cleanup steps that send requests
// to an API server.
const requestTimeout = time.Minute
