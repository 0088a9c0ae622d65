package leaderelection

import "testing"

func TestNotifier_DoesNotTellTheSameTwice(t *testing.T) {
	var told []string
	n := notifier{call: func(id string) { told = append(told, id) }, told: "a", next: "a", busy: true}
	n.tell() // "b" led for a moment in between
	if len(told) != 0 {
		t.Errorf("told %q after a", told)
	}
}
