package leaderelection_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// The server gives every version of the Lease the same resourceVersion. If the Elector
// cannot compare it, the Elector must not lead, and must name it.
func TestElector_LeadsOnlyWithAResourceVersionThatIsAToken(t *testing.T) {
	for version, leads := range map[string]bool{
		"1753647547040015001": true, "9223372036854775808": true, "18446744073709551615": true,
		"18446744073709551616": false, "1" + strings.Repeat("0", 40): false, "0x10": false, "v1": false,
	} {
		synctest.Test(t, func(t *testing.T) {
			clientset := fake.NewClientset()
			var stored *coordinationv1.Lease
			clientset.PrependReactor("*", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
				switch action := action.(type) {
				case clienttesting.CreateAction: // also an update
					stored = action.GetObject().(*coordinationv1.Lease).DeepCopy()
					stored.UID, stored.ResourceVersion = "1", version
				case clienttesting.GetAction:
					if stored == nil {
						return true, nil, apierrors.NewNotFound(coordinationv1.Resource("leases"), action.GetName())
					}
				default:
					return false, nil, nil
				}
				return true, stored.DeepCopy(), nil
			})
			started := make(chan leaderelection.Term, 10)
			elector, err := leaderelection.New(config("pod-1"), clientset, leaderelection.Callbacks{
				OnStartedLeading: func(ctx context.Context) {
					term, _ := leaderelection.TermFromContext(ctx)
					started <- term
					<-ctx.Done()
				},
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ran := make(chan error, 1)
			go func() { ran <- elector.Run(ctx) }()
			if leads {
				if term := <-started; term.Token.String() != version {
					t.Errorf("the token is %s, want %s", term.Token, version)
				}
			} else {
				time.Sleep(time.Minute)
				if problem := elector.State().LastError; elector.IsLeader() || len(started) > 0 || !strings.Contains(problem, `"`+version+`"`) {
					t.Errorf("with the resourceVersion %q it leads: %v, and its problem is %q", version, elector.IsLeader() || len(started) > 0, problem)
				}
			}
			cancel()
			if err := <-ran; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
}
