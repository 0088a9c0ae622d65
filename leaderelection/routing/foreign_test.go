package routing_test

import (
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Pods of a ReplicaSet have its labels from their template: it would lose whoever is
// robbed of one.
func TestRouter_TakesNoLabelAwayThatNoLeaderHasSet(t *testing.T) {
	for name, value := range map[string]string{"the same value": "yes", "another value": "my-app"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				pods := []string{"pod-a", "pod-b", "pod-c"}
				for _, pod := range pods {
					w.pods.PutFromTemplate(pod, "uid-"+types.UID(pod), value)
				}
				for _, pod := range pods[:2] {
					p := w.lead(pod)
					time.Sleep(routePace)
					if len(p.told("not right yet", "has the label example.com/leader="+value, "choose another Key")) != 1 {
						w.Errorf("%s did not tell once that the label is another one's", pod)
					}
					w.must(p.stop())
				}
				for _, pod := range pods {
					if got := w.pods.Label(pod); got != value {
						w.Errorf("the label of %s is %q now", pod, got)
					}
				}
			})
		})
	}
}

// A leader knows its own Pod's label for its own, though somebody has taken away the
// annotation that says so.
func TestRouter_TakesItsOwnLabelAwayWithoutTheAnnotation(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", false)
		p := w.lead("pod-a")
		synctest.Wait()
		w.pods.RemoveAnnotation("pod-a")
		time.Sleep(routePace)
		w.wantLabelled("after a look", "pod-a")
		w.pods.RemoveAnnotation("pod-a")
		w.must(p.stop())
		w.wantLabelled("after the stop")
	})
}

// What a leader that died has left on its Pod is this process's, if it is that Pod's
// next one.
func TestRouter_TakesAwayWhatAProcessBeforeItHasLeftOnItsPod(t *testing.T) {
	inBubble(t, func(w *world) {
		w.pods.Put("pod-a", "1", true)
		p := w.lead("pod-a")
		synctest.Wait()
		w.wantLabelled("while it leads", "pod-a")
		w.must(p.stop())
		w.wantLabelled("after the stop")
	})
}
