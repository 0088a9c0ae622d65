package dispatch

import "testing"

func TestNotifier_DoesNotReportTheSameLeaderTwice(t *testing.T) {
	var reported []string
	n := Notifier{Call: func(id string) { reported = append(reported, id) }, reported: "a", next: "a", busy: true}
	n.report() // "b" was offered and replaced by "a" while the receiver was busy
	if len(reported) != 0 {
		t.Errorf("reported %q after a", reported)
	}
}
