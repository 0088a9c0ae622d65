package explain

import (
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

func TestEarlyClaim_NamesTheProofOrTheReason(t *testing.T) {
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	process := leasestate.Process{Namespace: "ns", Pod: "app-1", UID: "uid-1", Container: "app", ContainerID: "containerd://a", Started: started.UnixMicro()}
	draft := leasestate.Draft{Holder: "pod-1", Seconds: 15, Acquired: started.Add(time.Minute), Renewed: started.Add(time.Minute), Process: &process}
	recorded := draft.Apply(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "5"}})
	draft.Process = nil
	unrecorded := draft.Apply(recorded)
	pod := func(exitCode int32) func(leasestate.Process) (*corev1.Pod, error) {
		return func(leasestate.Process) (*corev1.Pod, error) {
			p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app-1", UID: "uid-1"}}
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", ContainerID: "containerd://a", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{ContainerID: "containerd://a", ExitCode: exitCode, Reason: "OOMKilled", FinishedAt: metav1.NewTime(started.Add(2 * time.Minute))},
			}}}
			return p, nil
		}
	}
	fails := func(err error) func(leasestate.Process) (*corev1.Pod, error) {
		return func(leasestate.Process) (*corev1.Pod, error) { return nil, err }
	}
	for _, tt := range []struct {
		name  string
		lease *coordinationv1.Lease
		read  func(leasestate.Process) (*corev1.Pod, error)
		proof bool
		want  string
	}{
		{"terminated", recorded, pod(137), true, "possible: the container has terminated at 2026-01-01 00:02:00Z, exit code 137, reason OOMKilled"},
		{"exit code 255", recorded, pod(255), false, "not possible: exit code 255"},
		{"no record", unrecorded, pod(137), false, "has not written its container into the Lease"},
		{"no pod", recorded, fails(apierrors.NewNotFound(corev1.Resource("pods"), "app-1")), false, "not possible: the pod does not exist"},
		{"no right", recorded, fails(errors.New("forbidden")), false, "not possible: the pod cannot be read: forbidden"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := started.Add(3 * time.Minute)
			report := Explain(Observed{}.With(tt.lease, now.Add(-time.Second)), now)
			report.SetEarlyClaim(earlyClaim(tt.lease, tt.read))
			if text := report.String(); !strings.Contains(text, tt.want) {
				t.Errorf("the report lacks %q:\n%s", tt.want, text)
			}
			if report.EarlyClaim == nil || (report.EarlyClaim.Proof != "") != tt.proof {
				t.Errorf("early claim %+v", report.EarlyClaim)
			}
		})
	}
	report := Report{Holder: "pod-2"}
	if report.SetEarlyClaim(&EarlyClaim{Holder: "pod-1", Proof: "x"}); report.EarlyClaim != nil {
		t.Error("the proof concerns an earlier holder")
	}
	claimable := Report{Time: started, Holder: "pod-1", Claim: &Claim{From: started.Add(time.Minute)}}
	if claimable.SetEarlyClaim(&EarlyClaim{Holder: "pod-1", Proof: "x"}); !claimable.Claim.From.Equal(started) {
		t.Errorf("with proof the Lease may be claimed at %v", claimable.Claim.From)
	}
}
