package rights_test

import (
	"context"
	"fmt"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection/rights"
)

// Find out which rights a program lacks for its election.
func ExampleMissing() {
	clientset := clientsetWithout("watch") // a fake cluster, in which the user lacks one right
	uses := rights.Uses{LeaseNamespace: "default", LeaseName: "my-app-leader", Events: true}

	missing, err := rights.Missing(context.Background(), clientset, uses)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, right := range missing {
		fmt.Println("missing:", right)
	}

	// Output:
	// missing: watch leases.coordination.k8s.io "my-app-leader" in namespace "default"
}

// Create the Role that a program needs for its election.
func ExampleUses_Roles() {
	uses := rights.Uses{LeaseNamespace: "default", LeaseName: "my-app-leader", Events: true}
	roles, bindings := uses.Roles("my-app-leader", "default", "my-app")
	for i, role := range roles {
		fmt.Printf("Role %s/%s for service account %s\n", role.Namespace, role.Name, bindings[i].Subjects[0].Name)
		for _, rule := range role.Rules {
			fmt.Println("-", rule.Resources[0]+":", strings.Join(rule.Verbs, ", "))
		}
	}

	// Output:
	// Role default/my-app-leader for service account my-app
	// - leases: create
	// - leases: get, update, watch
	// - events: create, patch
}

// clientsetWithout returns a fake clientset whose user has all rights except those with
// the given verb.
func clientsetWithout(verb string) kubernetes.Interface {
	clientset := fake.NewClientset()
	clientset.PrependReactor("create", "selfsubjectaccessreviews", func(action clienttesting.Action) (bool, runtime.Object, error) {
		review := action.(clienttesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview)
		review.Status.Allowed = review.Spec.ResourceAttributes.Verb != verb
		return true, review, nil
	})
	return clientset
}
