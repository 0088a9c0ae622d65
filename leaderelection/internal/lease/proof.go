package lease

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
)

// maxProcess is the largest length of ProcessAnnotation in bytes. A longer annotation is
// ignored.
const maxProcess = 4 * 1024

// A Process names one process of a holder, by the container that it runs in. All fields
// are necessary.
type Process struct {
	// Namespace, Pod and UID are the namespace, the name and the UID of the pod.
	Namespace string `json:"namespace"`
	Pod       string `json:"pod"`
	UID       string `json:"uid"`

	// Container and ContainerID are the name and the containerID of the container.
	Container   string `json:"container"`
	ContainerID string `json:"containerID"`

	// Started is when the process started, by the clock of its node, in microseconds
	// since 1970.
	Started int64 `json:"started"`
}

// IsComplete reports whether every field of p is set.
func (p Process) IsComplete() bool {
	return p.Namespace != "" && p.Pod != "" && p.UID != "" && p.Container != "" && p.ContainerID != "" && p.Started > 0
}

// String returns the pod and the container of p.
func (p Process) String() string {
	return fmt.Sprintf("container %s (%s) of pod %s/%s", p.Container, p.ContainerID, p.Namespace, p.Pod)
}

// A processRecord is the content of ProcessAnnotation. The record belongs to one write of
// the Lease: to the write with this holder and this renewTime. Each write of the holder
// contains a new record. A candidate that does not know the annotation, such as client-go,
// keeps the annotation but changes renewTime. Therefore the record cannot describe such a
// candidate, even if the candidate has the same identity and keeps the acquireTime.
type processRecord struct {
	Holder  string `json:"holder"`
	Renewed int64  `json:"renewed"` // the renewTime in microseconds
	Process
}

// encode returns the value of ProcessAnnotation for a write with the given holder and
// renewTime.
func (p Process) encode(holder string, renewed int64) string {
	text, err := json.Marshal(processRecord{holder, renewed, p})
	if err != nil {
		return "" // json.Marshal does not fail for a processRecord
	}
	return string(text)
}

// ProcessOf returns the process that wrote the Lease as its holder. ok is false if the
// Lease does not contain this process.
func ProcessOf(lease *coordinationv1.Lease) (p Process, ok bool) {
	if Holder(lease) == "" || lease.Spec.RenewTime == nil {
		return Process{}, false
	}
	text := lease.Annotations[ProcessAnnotation]
	var r processRecord
	if text == "" || len(text) > maxProcess || json.Unmarshal([]byte(text), &r) != nil {
		return Process{}, false
	}
	if r.Holder != Holder(lease) || r.Renewed != RenewTime(lease) || !r.IsComplete() {
		return Process{}, false
	}
	return r.Process, true
}

// ProofOfDeath returns the kubelet's record that proves that the process p has ended. It
// returns nil and the reason if the pod's status does not prove it. A proof remains true
// for ever, so the status may be old.
//
// The record must have p's containerID, because two containers of one pod may run at the
// same time after the container runtime has lost its state. The record must also show an
// end after the start of p. This check is necessary because p may contain the ID of an
// earlier container, if p has read an outdated status. An earlier container ended before
// p started. finishedAt is a whole second that is not later than the end of the container.
// Therefore the finishedAt of an earlier container is never later than the start of p.
func ProofOfDeath(p Process, pod *corev1.Pod) (proof *corev1.ContainerStateTerminated, missing string) {
	if !p.IsComplete() {
		return nil, "the Lease does not name the leader's container"
	}
	if missing := otherPod(p.Namespace, p.Pod, p.UID, pod); missing != "" {
		return nil, missing
	}
	missing = fmt.Sprintf("the pod's status does not contain %v", p)
	for _, s := range statuses(pod, p.Container) {
		if s.ContainerID == p.ContainerID && s.State.Running != nil {
			return nil, fmt.Sprintf("%v is running", p)
		}
		for _, state := range []corev1.ContainerState{s.State, s.LastTerminationState} {
			t := state.Terminated
			if t == nil || t.ContainerID != p.ContainerID {
				continue
			}
			if doubt := doubtOf(t); doubt != "" {
				return nil, doubt
			}
			if t.FinishedAt.UnixMicro() <= p.Started {
				return nil, fmt.Sprintf("the container finished at %v, and the leader's process started later", t.FinishedAt.UTC().Format(time.RFC3339))
			}
			proof = t
		}
	}
	if proof != nil {
		missing = ""
	}
	return proof, missing
}

// unknownExitCode is the exit code that containerd reports if it does not know how the
// container ended. The processes of the container may still run.
const unknownExitCode = 255

// unknownReasons are the reasons of records that the kubelet writes without having
// observed the end of the container.
var unknownReasons = []string{"ContainerStatusUnknown", "RestartingAllContainers", "Unknown"}

// doubtOf returns why the record t does not show that the container has ended. It
// returns "" if the record shows it.
func doubtOf(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.ContainerID == "":
		return "the record of the container's end has no container ID"
	case t.ExitCode == unknownExitCode:
		return fmt.Sprintf("exit code %d means that the container runtime does not know whether the container has ended", t.ExitCode)
	case slices.Contains(unknownReasons, t.Reason):
		return fmt.Sprintf("reason %s means that the kubelet does not know whether the container has ended", t.Reason)
	case t.FinishedAt.IsZero():
		return "the record of the container's end has no finishedAt"
	}
	return ""
}

// otherPod returns why the pod is not the pod with this namespace, name and UID. It
// returns "" if it is.
func otherPod(namespace, name, uid string, pod *corev1.Pod) string {
	switch {
	case pod == nil:
		return "the pod does not exist; after a forced deletion its processes may still run"
	case pod.Namespace != namespace || pod.Name != name || string(pod.UID) != uid:
		return fmt.Sprintf("the pod %s/%s with UID %s is another pod than %s/%s with UID %s", pod.Namespace, pod.Name, pod.UID, namespace, name, uid)
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return "the pod is the mirror of a static pod"
	}
	return ""
}

// statuses returns the statuses of the containers with the given name. A sidecar is an
// init container.
func statuses(pod *corev1.Pod, container string) []corev1.ContainerStatus {
	return slices.DeleteFunc(slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses),
		func(s corev1.ContainerStatus) bool { return s.Name != container })
}

// maxStartDelay is the longest time from the start of a container to the start of its
// process that OwnContainer accepts. A program outside the pod that has the pod's
// environment, as with some development tools, normally starts much later.
const maxStartDelay = time.Minute

// OwnContainer returns p with the name and the ID of the container in which p runs,
// according to the status of p's pod. It returns the reason if the status does not show
// the container. The status may be outdated. Therefore call OwnContainer again some
// seconds later, and use the container only if both results are equal.
//
// If p.Container is "", the container is the pod's only container. The container must run
// since a time that is not later than the start of p, because a later container may run
// beside p. For the same reason, the end of the previous container must be certain.
func OwnContainer(p Process, pod *corev1.Pod) (own Process, missing string) {
	if missing := otherPod(p.Namespace, p.Pod, p.UID, pod); missing != "" {
		return Process{}, missing
	}
	if p.Container == "" {
		names := longRunning(pod)
		if len(names) != 1 {
			return Process{}, fmt.Sprintf("the pod has %d containers (%q): name the container of this process", len(names), names)
		}
		p.Container = names[0]
	}
	found := statuses(pod, p.Container)
	if len(found) != 1 {
		return Process{}, fmt.Sprintf("the pod's status contains no container %q", p.Container)
	}
	s, started := found[0], time.UnixMicro(p.Started)
	running, last := s.State.Running, s.LastTerminationState.Terminated
	switch {
	case running == nil || s.ContainerID == "" || running.StartedAt.IsZero():
		return Process{}, fmt.Sprintf("container %q does not run yet, according to the pod's status", p.Container)
	case running.StartedAt.After(started):
		return Process{}, fmt.Sprintf("container %q started at %v, later than this process (%v)", p.Container, running.StartedAt.UTC().Format(time.RFC3339), started.UTC())
	case started.Sub(running.StartedAt.Time) > maxStartDelay:
		return Process{}, fmt.Sprintf("container %q started more than %v before this process", p.Container, maxStartDelay)
	case last == nil && s.RestartCount > 0:
		return Process{}, fmt.Sprintf("the end of the previous container %q is not recorded", p.Container)
	case last != nil && (doubtOf(last) != "" || last.ContainerID == s.ContainerID || last.FinishedAt.After(started)):
		return Process{}, fmt.Sprintf("the end of the previous container %q is not certain", p.Container)
	}
	p.ContainerID = s.ContainerID
	return p, ""
}

// longRunning returns the names of the pod's containers and sidecars.
func longRunning(pod *corev1.Pod) (names []string) {
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			names = append(names, c.Name)
		}
	}
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	return names
}

// A Proof is the knowledge of a candidate that a process has ended. The zero Proof proves
// nothing.
type Proof struct {
	Process Process   // the process that has ended
	At      time.Time // when the candidate learned it
}

// Covers reports whether the process that wrote the Lease as its holder has ended. It
// returns false without a resourceVersion, because the API server then does not refuse a
// claim that another write has overtaken.
func (p Proof) Covers(lease *coordinationv1.Lease) bool {
	holder, ok := ProcessOf(lease)
	return ok && holder == p.Process && Version(lease) != 0
}
