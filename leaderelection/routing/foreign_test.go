package routing_test

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// The Pods of a ReplicaSet get labels from the Pod template. If the Router removed such a
// label, the ReplicaSet would lose the Pod.
func TestRouter_KeepsLabelsThatNoLeaderHasSet(t *testing.T) {
	for name, value := range map[string]string{"the same value": "yes", "another value": "my-app"} {
		t.Run(name, func(t *testing.T) {
			inTestCluster(t, func(c *testCluster) {
				pods := []string{"pod-a", "pod-b", "pod-c"}
				for _, pod := range pods {
					c.pods.PutFromTemplate(pod, "uid-"+types.UID(pod), value)
				}
				for _, pod := range pods[:2] {
					p := c.lead(pod)
					time.Sleep(checkPeriod)
					if len(p.logged("not up to date", "has the label example.com/leader="+value, "choose another Key")) != 1 {
						c.Errorf("%s did not log once that no leader set the label", pod)
					}
					c.must(p.stop())
				}
				for _, pod := range pods {
					if got := c.pods.Label(pod); got != value {
						c.Errorf("the label of %s is %q, want %q", pod, got, value)
					}
				}
			})
		})
	}
}

// The Router remembers that it has set the label on its own Pod. Therefore the Router
// removes the label even if the annotation <key>-term is missing.
func TestRouter_RemovesItsOwnLabelThoughTheAnnotationWasRemoved(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", false)
		p := c.lead("pod-a")
		synctest.Wait()
		c.pods.RemoveAnnotation("pod-a")
		time.Sleep(checkPeriod)
		c.wantLabelled("after a check", "pod-a")
		c.pods.RemoveAnnotation("pod-a")
		c.must(p.stop())
		c.wantLabelled("after the stop")
	})
}

// An earlier process in the same Pod may have set the label and then crashed.
func TestRouter_RemovesTheLabelThatAnEarlierProcessLeftOnItsPod(t *testing.T) {
	inTestCluster(t, func(c *testCluster) {
		c.pods.Put("pod-a", "1", true)
		p := c.lead("pod-a")
		synctest.Wait()
		c.wantLabelled("while it leads", "pod-a")
		c.must(p.stop())
		c.wantLabelled("after the stop")
	})
}
