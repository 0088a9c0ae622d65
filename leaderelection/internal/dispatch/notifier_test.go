package dispatch

import "testing"

func TestNotifier_DoesNotReportTheSameLeaderTwice(t *testing.T) {
	var reported []string
	n := Notifier{Call: func(id string) { reported = append(reported, id) }, reported: "a", next: "a", busy: true}
	n.report() // "b" led for a moment in between
	if len(reported) != 0 {
		t.Errorf("reported %q after a", reported)
	}
}
