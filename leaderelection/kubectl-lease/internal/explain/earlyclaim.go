package explain

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	leasestate "github.com/haproxy-template-ic/incumbent/leaderelection/internal/lease"
)

// An EarlyClaim describes whether a candidate with proof of death may claim the Lease
// before it expires.
type EarlyClaim struct {
	// Holder is the holder that the other fields describe.
	Holder string `json:"holder"`

	// Container is the container that the holder has written into the Lease. It is "" if
	// the holder has written none.
	Container string `json:"container,omitempty"`

	// Proof describes the proof that the holder's process has ended. It is "" if there is
	// no proof.
	Proof string `json:"proof,omitempty"`

	// Missing is the reason why there is no proof. It is "" if there is one.
	Missing string `json:"missing,omitempty"`
}

// FindEarlyClaim reads the Lease and the pod of its holder. It returns nil if nobody holds
// the Lease, or if the Lease cannot be read.
func FindEarlyClaim(ctx context.Context, clientset kubernetes.Interface, namespace, name string) *EarlyClaim {
	lease, err := clientset.CoordinationV1().Leases(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil || leasestate.Holder(lease) == "" {
		return nil
	}
	return earlyClaim(lease, func(p leasestate.Process) (*corev1.Pod, error) {
		return clientset.CoreV1().Pods(p.Namespace).Get(ctx, p.Pod, metav1.GetOptions{})
	})
}

func earlyClaim(lease *coordinationv1.Lease, read func(leasestate.Process) (*corev1.Pod, error)) *EarlyClaim {
	e := &EarlyClaim{Holder: leasestate.Holder(lease)}
	process, ok := leasestate.ProcessOf(lease)
	if !ok {
		e.Missing = "the holder has not written its container into the Lease: it does not use proof of death, has started just now, or may not read its pod"
		return e
	}
	e.Container = process.String()
	pod, err := read(process)
	if apierrors.IsNotFound(err) {
		pod, err = nil, nil
	}
	if err != nil {
		e.Missing = fmt.Sprintf("the pod cannot be read: %v", err)
		return e
	}
	proof, missing := leasestate.ProofOfDeath(process, pod)
	if e.Missing = missing; proof != nil {
		e.Proof = fmt.Sprintf("the container has terminated at %s, exit code %d, reason %s", clock(proof.FinishedAt.Time), proof.ExitCode, proof.Reason)
	}
	return e
}

// SetEarlyClaim adds an EarlyClaim to the Report, if it describes the present holder. With
// proof, the Lease may be claimed now.
func (r *Report) SetEarlyClaim(e *EarlyClaim) {
	if e == nil || r.Holder == "" || e.Holder != r.Holder {
		return
	}
	r.EarlyClaim = e
	if e.Proof != "" && r.Claim != nil && r.Claim.From.After(r.Time) {
		r.Claim = &Claim{From: r.Time, Note: "by a candidate with proof of death; by others from " + clock(r.Claim.From) + " on"}
	}
}

// line returns the EarlyClaim in one line.
func (e EarlyClaim) line() string {
	if e.Proof != "" {
		return "possible: " + e.Proof
	}
	return "not possible: " + e.Missing
}
