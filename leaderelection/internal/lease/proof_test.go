package lease

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leading is a process that started 10.4 s after the start of the test, in the second
// container "app" of its pod.
var leading = Process{Namespace: "ns", Pod: "app-1", UID: "uid-1", Container: "app", ContainerID: "containerd://b", Started: at(10.4).UnixMicro()}

// podWith returns the pod of leading with the given statuses of its containers.
func podWith(statuses ...corev1.ContainerStatus) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app-1", UID: "uid-1"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		Status:     corev1.PodStatus{ContainerStatuses: statuses},
	}
}

// ended returns the record of the end of the container with the given ID. finished is
// the finishedAt, in seconds since the start of the test.
func ended(id string, finished float64) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{ContainerID: id, ExitCode: 137, Reason: "Error", FinishedAt: metav1.NewTime(at(finished))}
}

// dead returns the status of a container that has terminated, with the given record.
func dead(t *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: "app", ContainerID: t.ContainerID, State: corev1.ContainerState{Terminated: t}}
}

// alive returns the status of a running container. last is the record of the previous
// container, or nil.
func alive(id string, started float64, last *corev1.ContainerStateTerminated) corev1.ContainerStatus {
	s := corev1.ContainerStatus{
		Name: "app", ContainerID: id, LastTerminationState: corev1.ContainerState{Terminated: last},
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at(started))}},
	}
	if last != nil {
		s.RestartCount = 1
	}
	return s
}

// edited returns a copy of v after edit was called with it.
func edited[T any](v T, edit func(*T)) T {
	edit(&v)
	return v
}

func TestProofOfDeath_IsOnlyTheRecordOfTheProcess(t *testing.T) {
	record := func(edit func(*corev1.ContainerStateTerminated)) *corev1.Pod {
		r := ended("containerd://b", 20)
		edit(r)
		return podWith(dead(r))
	}
	waiting := corev1.ContainerStatus{
		Name: "app", ContainerID: "containerd://b", RestartCount: 2, LastTerminationState: corev1.ContainerState{Terminated: ended("containerd://b", 20)},
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
	}
	unknown, unclear := ended("", 20), ended("containerd://b", 20)
	unknown.Reason, unclear.ExitCode = "ContainerStatusUnknown", 255
	sound := podWith(dead(ended("containerd://b", 20)))
	sidecar := sound.DeepCopy()
	sidecar.Status.InitContainerStatuses, sidecar.Status.ContainerStatuses = sidecar.Status.ContainerStatuses, nil
	for _, tt := range []struct {
		name string
		pod  *corev1.Pod
		want bool
	}{
		// Proof.
		{"terminated", sound, true},
		{"terminated with exit code 0", record(func(r *corev1.ContainerStateTerminated) { r.ExitCode, r.Reason = 0, "Completed" }), true},
		{"terminated because of a lack of memory", record(func(r *corev1.ContainerStateTerminated) { r.Reason = "OOMKilled" }), true},
		{"terminated as a sidecar", sidecar, true},
		{"a new container runs", podWith(alive("containerd://c", 21, ended("containerd://b", 20))), true},
		{"a new container waits", podWith(waiting), true},
		{"the new container has terminated too", podWith(edited(dead(ended("containerd://c", 30)), func(s *corev1.ContainerStatus) {
			s.LastTerminationState.Terminated = ended("containerd://b", 20)
		})), true},
		{"finished in the first second after the start", podWith(dead(ended("containerd://b", 11))), true},
		{"beside another container", podWith(edited(alive("containerd://x", 1, nil), func(s *corev1.ContainerStatus) { s.Name = "proxy" }), dead(ended("containerd://b", 20))), true},

		// No proof: the pod.
		{"the pod does not exist", nil, false},
		{"another pod of the same name", withPod(sound, func(p *corev1.Pod) { p.UID = "uid-2" }), false},
		{"a pod without a UID", withPod(sound, func(p *corev1.Pod) { p.UID = "" }), false},
		{"another pod", withPod(sound, func(p *corev1.Pod) { p.Name = "app-2" }), false},
		{"a pod of another namespace", withPod(sound, func(p *corev1.Pod) { p.Namespace = "other" }), false},
		{"the mirror of a static pod", withPod(sound, func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: ""} }), false},
		{"deleted by force, container running", withPod(podWith(alive("containerd://b", 10, nil)), func(p *corev1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: at(20)}, new(int64)
		}), false},
		{"failed, according to the collector of pods", withPod(podWith(alive("containerd://b", 10, nil)), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), false},
		{"no status", podWith(), false},

		// No proof: the container.
		{"running", podWith(alive("containerd://b", 10, nil)), false},
		{"a new container runs, nothing is known of the old one", podWith(alive("containerd://c", 21, nil)), false},
		{"only waiting", podWith(corev1.ContainerStatus{Name: "app", RestartCount: 1, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}), false},
		{"another container of the pod", podWith(edited(dead(ended("containerd://b", 20)), func(s *corev1.ContainerStatus) { s.Name = "proxy" })), false},
		{"a later container has terminated", podWith(dead(ended("containerd://c", 20))), false},
		{"an earlier container has terminated", podWith(alive("containerd://b", 10, ended("containerd://a", 9))), false},
		{"a later container runs, the old one is unknown", podWith(alive("containerd://c", 21, unknown)), false},
		{"running and terminated", podWith(alive("containerd://b", 10, ended("containerd://b", 20))), false},

		// No proof: the record.
		{"no container ID", record(func(r *corev1.ContainerStateTerminated) { r.ContainerID = "" }), false},
		{"exit code 255", record(func(r *corev1.ContainerStateTerminated) { r.ExitCode = 255 }), false},
		{"reason ContainerStatusUnknown", record(func(r *corev1.ContainerStateTerminated) { r.Reason = "ContainerStatusUnknown" }), false},
		{"reason RestartingAllContainers", record(func(r *corev1.ContainerStateTerminated) { r.Reason = "RestartingAllContainers" }), false},
		{"reason Unknown", record(func(r *corev1.ContainerStateTerminated) { r.Reason = "Unknown" }), false},
		{"no finishedAt", record(func(r *corev1.ContainerStateTerminated) { r.FinishedAt = metav1.Time{} }), false},
		{"finished in the second of the start: it may be an earlier container", podWith(dead(ended("containerd://b", 10))), false},
		{"finished exactly at the start", podWith(dead(ended("containerd://b", 10.4))), false},
		{"finished before the start", podWith(dead(ended("containerd://b", 9))), false},
		{"two records that contradict each other", podWith(edited(dead(ended("containerd://b", 20)), func(s *corev1.ContainerStatus) {
			s.LastTerminationState.Terminated = unclear
		})), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proof, missing := ProofOfDeath(leading, tt.pod)
			if (proof != nil) != tt.want || (missing == "") != tt.want {
				t.Errorf("proof %v, missing %q; want proof: %t", proof, missing, tt.want)
			}
			for _, incomplete := range incompletes() {
				if proof, missing := ProofOfDeath(incomplete, tt.pod); proof != nil || missing == "" {
					t.Errorf("the incomplete process %+v has the proof %v", incomplete, proof)
				}
			}
		})
	}
}

func withPod(pod *corev1.Pod, edit func(*corev1.Pod)) *corev1.Pod {
	pod = pod.DeepCopy()
	edit(pod)
	return pod
}

// incompletes returns copies of leading in which one field is missing.
func incompletes() []Process {
	return []Process{
		{},
		edited(leading, func(p *Process) { p.Namespace = "" }), edited(leading, func(p *Process) { p.Pod = "" }), edited(leading, func(p *Process) { p.UID = "" }),
		edited(leading, func(p *Process) { p.Container = "" }), edited(leading, func(p *Process) { p.ContainerID = "" }), edited(leading, func(p *Process) { p.Started = 0 }),
	}
}

// An earlier container ended before the process started, and its finishedAt is cut to a
// whole second. Its record must never count, at whichever time the process started.
func TestProofOfDeath_NeverAcceptsAnEarlierContainer(t *testing.T) {
	for end := time.Duration(0); end < 3*time.Second; end += 50 * time.Millisecond {
		for start := end; start < end+3*time.Second; start += 50 * time.Millisecond {
			p := edited(leading, func(p *Process) { p.Started = epoch.Add(start).UnixMicro() })
			r := ended("containerd://b", 0)
			r.FinishedAt = metav1.NewTime(epoch.Add(end).Truncate(time.Second))
			if proof, _ := ProofOfDeath(p, podWith(dead(r))); proof != nil {
				t.Fatalf("a container that ended after %v proves the death of a process that started after %v", end, start)
			}
		}
	}
}

func TestOwnContainer_IsTakenOnlyFromAStatusThatFits(t *testing.T) {
	self := edited(leading, func(p *Process) { p.Container, p.ContainerID = "", "" })
	unknown := ended("", 9)
	unknown.Reason = "ContainerStatusUnknown"
	unclear := ended("containerd://a", 9)
	unclear.ExitCode = 255
	always := corev1.ContainerRestartPolicyAlways
	two := withPod(podWith(alive("containerd://b", 10, nil)), func(p *corev1.Pod) {
		p.Spec.InitContainers = []corev1.Container{{Name: "proxy", RestartPolicy: &always}}
	})
	for _, tt := range []struct {
		name string
		self Process
		pod  *corev1.Pod
		want string
	}{
		{"running since this second", self, podWith(alive("containerd://b", 10, nil)), "containerd://b"},
		{"running since 50 s", self, podWith(alive("containerd://b", -40, nil)), "containerd://b"},
		{"restarted", self, podWith(alive("containerd://b", 10, ended("containerd://a", 9))), "containerd://b"},
		{"beside an init container that has ended", self, withPod(podWith(alive("containerd://b", 10, nil)), func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{Name: "prepare"}}
		}), "containerd://b"},
		{"one of two, named", edited(self, func(p *Process) { p.Container = "app" }), two, "containerd://b"},

		{"one of two, not named", self, two, ""},
		{"a name that the pod does not have", edited(self, func(p *Process) { p.Container = "main" }), podWith(alive("containerd://b", 10, nil)), ""},
		{"no pod", self, nil, ""},
		{"another pod of the same name", edited(self, func(p *Process) { p.UID = "uid-0" }), podWith(alive("containerd://b", 10, nil)), ""},
		{"no status", self, podWith(), ""},
		{"not running yet", self, podWith(corev1.ContainerStatus{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{}}}), ""},
		{"the previous one has terminated", self, podWith(dead(ended("containerd://a", 9))), ""},
		{"running without an ID", self, podWith(alive("", 10, nil)), ""},
		{"running since an unknown time", self, podWith(edited(alive("containerd://b", 10, nil), func(s *corev1.ContainerStatus) { s.State.Running.StartedAt = metav1.Time{} })), ""},
		{"started after this process: a container beside it", self, podWith(alive("containerd://c", 11, nil)), ""},
		{"started long before this process: it may run outside the pod", self, podWith(alive("containerd://b", -60, nil)), ""},
		{"the previous one is unknown: it may be this process", self, podWith(alive("containerd://c", 10, unknown)), ""},
		{"the previous one ended with code 255", self, podWith(alive("containerd://c", 10, unclear)), ""},
		{"the previous one is not recorded", self, podWith(edited(alive("containerd://b", 10, nil), func(s *corev1.ContainerStatus) { s.RestartCount = 1 })), ""},
		{"the previous one ended after this process started", self, podWith(alive("containerd://c", 10, ended("containerd://b", 11))), ""},
		{"it is not known when the previous one ended", self, podWith(alive("containerd://b", 10, &corev1.ContainerStateTerminated{ContainerID: "containerd://a"})), ""},
		{"the previous one has the same ID", self, podWith(alive("containerd://b", 10, ended("containerd://b", 9))), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, missing := OwnContainer(tt.self, tt.pod)
			if got.ContainerID != tt.want || (missing == "") != (tt.want != "") {
				t.Errorf("got %q, missing %q; want %q", got.ContainerID, missing, tt.want)
			}
			if tt.want != "" && got != edited(leading, func(p *Process) { p.ContainerID = tt.want }) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// ledBy returns a Lease that leading claimed or renewed as the given holder.
func ledBy(holder string, renewed float64) *coordinationv1.Lease {
	lease := record("a", 50, "", 0)
	return Draft{Holder: holder, Seconds: 15, Acquired: at(12), Renewed: at(renewed), Process: &leading}.Apply(lease)
}

func TestProcessOf_BelongsToOneWriteOfTheHolder(t *testing.T) {
	renewed := ledBy("pod-0", 14)
	for _, tt := range []struct {
		name  string
		lease *coordinationv1.Lease
		want  bool
	}{
		{"a claim", ledBy("pod-0", 12), true},
		{"a renewal", renewed, true},
		{"a nomination", State{Lease: renewed}.Nominate(Nomination{Identity: "pod-1"}), true},
		{"an edit of the labels", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { l.Labels = map[string]string{"a": "b"} }), true},

		{"another holder was written", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { *l.Spec.HolderIdentity = "pod-1" }), false},
		{"the holder was removed", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { *l.Spec.HolderIdentity = "" }), false},
		{"a candidate with client-go claimed it", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) {
			*l.Spec.HolderIdentity, l.Spec.AcquireTime, l.Spec.RenewTime = "pod-1", &metav1.MicroTime{Time: at(30)}, &metav1.MicroTime{Time: at(30)}
		}), false},
		{"a candidate with client-go and the same identity claimed it: client-go keeps the acquireTime", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = &metav1.MicroTime{Time: at(30)}
		}), false},
		{"no renewTime", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { l.Spec.RenewTime = nil }), false},
		{"an Elector without the option claimed it", Draft{Holder: "pod-1", Seconds: 15, Acquired: at(30), Renewed: at(30)}.Apply(ledBy("pod-0", 14)), false},
		{"an Elector without the option renewed it", Draft{Holder: "pod-0", Seconds: 15, Acquired: at(12), Renewed: at(16)}.Apply(ledBy("pod-0", 14)), false},
		{"released", Draft{Seconds: 1, Acquired: at(12), Renewed: at(16), Process: &leading}.Apply(ledBy("pod-0", 14)), false},
		{"too long", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { l.Annotations[ProcessAnnotation] += strings.Repeat(" ", maxProcess) }), false},
		{"not JSON", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) { l.Annotations[ProcessAnnotation] = "x" }), false},
		{"a field is missing", with(ledBy("pod-0", 14), func(l *coordinationv1.Lease) {
			l.Annotations[ProcessAnnotation] = strings.Replace(l.Annotations[ProcessAnnotation], "containerd://b", "", 1)
		}), false},
		{"no Lease", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ProcessOf(tt.lease)
			if ok != tt.want || ok && got != leading || !ok && got != (Process{}) {
				t.Errorf("%+v, %t", got, ok)
			}
			if proof := (Proof{Process: leading, At: at(20)}); proof.Covers(tt.lease) != tt.want {
				t.Errorf("the proof covers the Lease: %t", !tt.want)
			}
			if (Proof{}).Covers(tt.lease) {
				t.Error("no proof covers the Lease")
			}
		})
	}
}

func TestProof_DoesNotCoverALeaseWithoutAResourceVersion(t *testing.T) {
	lease := ledBy("pod-0", 14)
	lease.ResourceVersion = ""
	if (Proof{Process: leading, At: at(20)}).Covers(lease) {
		t.Error("the server could not refuse a late claim")
	}
}

func TestDraft_RemovesTheProcessOfAnEarlierWrite(t *testing.T) {
	for _, d := range []Draft{
		{Holder: "pod-1", Seconds: 15, Acquired: at(30), Renewed: at(30)},
		{Holder: "pod-0", Seconds: 15, Acquired: at(12), Renewed: at(16)},
		{Seconds: 1, Acquired: at(12), Renewed: at(16), Process: &leading},
	} {
		if text, ok := d.Apply(ledBy("pod-0", 14)).Annotations[ProcessAnnotation]; ok {
			t.Errorf("after the write %+v the Lease has the annotation %s", d, text)
		}
	}
}

func TestDraft_KeepsAnotherProcessOutOfAFullLease(t *testing.T) {
	lease := ledBy("pod-0", 14)
	lease.Annotations["other"] = strings.Repeat("x", maxOtherAnnotations)
	lease = Draft{Holder: "pod-0", Seconds: 15, Acquired: at(12), Renewed: at(16), Process: &leading}.Apply(lease)
	if _, ok := lease.Annotations[ProcessAnnotation]; ok {
		t.Error("the annotation does not fit into the Lease")
	}
}

func TestState_ProofMakesALeaseClaimableOnceItIsLearned(t *testing.T) {
	foreign := func(*coordinationv1.Lease) bool { return false }
	proof := Proof{Process: leading, At: at(17)}
	held := event(ledBy("pod-0", 14), 15)
	later := ledBy("pod-0", 16)
	later.ResourceVersion = "51"
	other := Draft{Holder: "pod-1", Seconds: 15, Acquired: at(18), Renewed: at(18)}.Apply(later)
	other.ResourceVersion = "52"
	for _, tt := range []struct {
		name  string
		proof Proof
		seen  []Observation
		want  float64
	}{
		{"no proof", Proof{}, []Observation{held}, 30},
		{"proof", proof, []Observation{held}, 17},
		{"proof of another process", edited(proof, func(p *Proof) { p.Process.ContainerID = "containerd://a" }), []Observation{held}, 30},
		{"proof before the observation", edited(proof, func(p *Proof) { p.At = at(3) }), []Observation{held}, 15},
		{"proof after the Lease expired", edited(proof, func(p *Proof) { p.At = at(33) }), []Observation{held}, 30},
		{"a late write of the dead process", proof, []Observation{held, event(later, 18)}, 18},
		{"another candidate holds it", proof, []Observation{held, event(other, 19)}, 34},
		{"the Lease was deleted: a creation is no compare-and-swap", proof, []Observation{held, deletion(51, 18)}, 30},
		{"another holder's Lease was deleted before", proof, []Observation{event(record("z", 40, "pod-9", 1), 13), deletion(41, 14), held}, 28},
		{"history was rewound", proof, []Observation{event(record("a", 90, "pod-9", 1), 13), rewound(reply(ledBy("pod-0", 14), 15, 15))}, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, known := observed(tt.seen...).ClaimableAt(ClaimRule{Own: foreign, Proof: tt.proof})
			if !known || !got.Equal(at(tt.want)) {
				t.Errorf("claimableAt = %v s, want %v s", got.Sub(epoch).Seconds(), tt.want)
			}
		})
	}
}

func TestHistory_NamesATerminatedLeader(t *testing.T) {
	lease := Draft{Holder: "pod-1", Seconds: 15, Acquired: at(18), Renewed: at(18), Terminated: true}.Apply(ledBy("pod-0", 14))
	terms := History(lease)
	if len(terms) != 2 || terms[0].Holder != "pod-0" || terms[0].End != EndTerminated || terms[1].End != "" {
		t.Errorf("history = %+v", terms)
	}
}

func FuzzProofOfDeath_AnyStatus(f *testing.F) {
	for _, pod := range []*corev1.Pod{
		podWith(dead(ended("containerd://b", 20))), podWith(alive("containerd://b", 10, nil)), podWith(alive("containerd://c", 21, ended("containerd://b", 20))),
	} {
		text, err := json.Marshal(pod)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, `{"holder":"pod-0","renewed":1}`)
	}
	f.Add([]byte(`{"status":{"containerStatuses":[{"state":{"terminated":{"finishedAt":null}}}]}}`), "null")
	f.Add([]byte(`{"metadata":{"uid":"uid-1"},"status":{"initContainerStatuses":[{"name":"app","lastState":{"terminated":{"exitCode":255}}}]}}`), `{"started":-1}`)
	f.Fuzz(func(t *testing.T, text []byte, annotation string) {
		pod := &corev1.Pod{}
		if json.Unmarshal(text, pod) != nil {
			return
		}
		if proof, missing := ProofOfDeath(leading, pod); proof != nil {
			if missing != "" || proof.ContainerID != leading.ContainerID || proof.ExitCode == 255 || proof.FinishedAt.UnixMicro() <= leading.Started || string(pod.UID) != leading.UID {
				t.Errorf("proof %+v, missing %q", proof, missing)
			}
		} else if missing == "" {
			t.Error("no proof, and no reason")
		}
		own, missing := OwnContainer(Process{Namespace: pod.Namespace, Pod: pod.Name, UID: string(pod.UID), Started: math.MaxInt64 / 4}, pod)
		if (own.ContainerID == "") != (missing != "") {
			t.Errorf("container %+v, missing %q", own, missing)
		}
		lease := ledBy("pod-0", 14)
		lease.Annotations[ProcessAnnotation] = annotation
		if p, ok := ProcessOf(lease); ok && !p.IsComplete() {
			t.Errorf("%+v is not complete", p)
		}
	})
}
