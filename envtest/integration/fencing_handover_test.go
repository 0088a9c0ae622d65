package integration_test

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/envtest"
	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

const (
	manyHandovers = 200
	someHandovers = 50
)

// objects are the names of the objects that the pods write.
var objects = []string{"one", "two"}

// podWriter is a pod that writes as fast as it can, whether it holds the Lease
// or not.
type podWriter struct {
	name     string
	client   kubernetes.Interface
	token    atomic.Uint64 // the fencing token of this pod's latest term
	fresh    chan write    // receives the accepted writes of this pod
	accepted []write
	refused  int
}

// write is a write that the API server accepted. version is the
// resourceVersion that the API server assigned. All later writes have higher
// resourceVersions, including writes of the Lease.
type write struct {
	by      string
	token   uint64 // the fencing token that the write carries
	object  string
	version uint64
	at      time.Time // the time at which the reply arrived
}

// holding is a period in which one pod holds the Lease. The period begins with
// the write of the Lease that makes the pod the holder. The fields version and
// at contain the resourceVersion and the time of that write.
type holding struct {
	holder  string
	version uint64
	at      time.Time
}

// writeUntilDone writes the objects in turn until ctx is done.
func (g *podWriter) writeUntilDone(ctx context.Context, p *fencedCluster) {
	for n := 0; ctx.Err() == nil; n++ {
		object := objects[n%len(objects)]
		token := g.token.Load()
		stamp := fmt.Sprintf("%d %s", token, g.name)
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"data":{"by":"%s %d"}}`, fencing.AnnotationKey(p.namespace+"/"+leaseName), stamp, g.name, n)
		written, err := g.client.CoreV1().ConfigMaps(p.namespace).Patch(ctx, object, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			hit := write{g.name, token, object, version(p, written.ResourceVersion), time.Now()}
			g.accepted = append(g.accepted, hit)
			select {
			case g.fresh <- hit:
			default: // no goroutine of the test is waiting for this write
			}
		case fencing.IsStale(err):
			g.refused++
		default:
			p.Errorf("%s: %v", g.name, err)
			return
		}
	}
}

func version(p *fencedCluster, text string) uint64 {
	v, err := strconv.ParseUint(text, 10, 64)
	must(p.T, err)
	return v
}

// writeDuringHandovers hands the Lease over repeatedly, while all pods write. A
// handover is complete when the new holder has written each object.
func (p *fencedCluster) writeDuringHandovers(handovers int, writers ...*podWriter) []holding {
	for _, object := range objects {
		_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(p.Context(), p.configMap(object), metav1.CreateOptions{})
		must(p.T, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, g := range writers {
		g.token.Store(1)
		all.Go(func() { g.writeUntilDone(ctx, p) })
	}
	var holdings []holding
	for i := range handovers {
		g := writers[i%len(writers)]
		lease := p.writeHolder(g.name)
		next := holding{g.name, version(p, lease.ResourceVersion), time.Now()}
		holdings = append(holdings, next)
		g.token.Store(next.version)
		missing := slices.Clone(objects)
		for len(missing) > 0 {
			select {
			case hit := <-g.fresh:
				if hit.version > next.version && hit.token == next.version {
					missing = slices.DeleteFunc(missing, func(object string) bool { return object == hit.object })
				}
			case <-timeout():
				p.Fatalf("handover %d: %s waits for %v", i, g.name, missing)
			}
		}
	}
	return holdings
}

// result contains the numbers of refused writes and of accepted stale writes,
// and the measured durations.
type result struct {
	refused int
	// early counts the stale writes that were accepted before the new holder
	// had written any object.
	early int
	// late counts the stale writes that were accepted after the new holder had
	// written the same object.
	late int
	// across counts the stale writes that were accepted after the new holder
	// had written only other objects.
	across int
	// windows contains one duration for each late write. The duration is the
	// time from the reply to the new holder's first write of the object until
	// the reply to the late write.
	windows []time.Duration
	// waits contains one duration for each new holder. The duration is the time
	// from the reply to the write of the Lease until the reply to the new
	// holder's first accepted write.
	waits []time.Duration
}

// isCurrent is a function that reports whether the write s is current during
// the holding t. All other writes are stale. With mode ByPod, all writes of the
// holder are current. With mode ByTerm, only writes with the token of the
// holding are current.
type isCurrent func(s write, t holding) bool

func byPod(s write, t holding) bool  { return s.by == t.holder }
func byTerm(s write, t holding) bool { return s.token == t.version }

// evaluate classifies the writes of all writers. The parameter current
// determines which writes are current.
func evaluate(holdings []holding, current isCurrent, writers ...*podWriter) (v result) {
	// first contains one map for each holding. This map contains the holder's
	// first write of each object, keyed by the name of the object.
	first := make([]map[string]write, len(holdings))
	stale := map[int][]write{} // the stale writes, keyed by the index of the holding
	for i := range first {
		first[i] = map[string]write{}
	}
	for _, g := range writers {
		v.refused += g.refused
		for _, hit := range g.accepted {
			i := holdingAt(holdings, hit.version)
			if i < 0 {
				continue
			}
			_, found := first[i][hit.object]
			switch {
			case !current(hit, holdings[i]):
				stale[i] = append(stale[i], hit)
			case !found:
				if len(first[i]) == 0 {
					v.waits = append(v.waits, hit.at.Sub(holdings[i].at))
				}
				first[i][hit.object] = hit
			}
		}
	}
	for i, writes := range stale {
		for _, hit := range writes {
			v.add(hit, first[i])
		}
	}
	slices.Sort(v.waits)
	slices.Sort(v.windows)
	return v
}

// holdingAt returns the index of the holding to which a write with the given
// resourceVersion belongs. It returns -1 if the write was made before the first
// holding.
func holdingAt(holdings []holding, version uint64) int {
	i, _ := slices.BinarySearchFunc(holdings, version, func(t holding, version uint64) int {
		return cmp.Compare(t.version, version)
	})
	return i - 1
}

// add counts a stale write. The map first contains the holder's first write of
// each object, keyed by the name of the object.
func (v *result) add(hit write, first map[string]write) {
	if same, found := first[hit.object]; found && hit.version > same.version {
		v.late++
		v.windows = append(v.windows, hit.at.Sub(same.at))
		return
	}
	for _, other := range first {
		if hit.version > other.version {
			v.across++
			return
		}
	}
	v.early++
}

func (v result) log(t *testing.T) {
	t.Helper()
	median, worst := v.waits[len(v.waits)/2], v.waits[len(v.waits)-1]
	t.Logf("%d handovers; stale writes: %d refused, %d accepted before the new leader's first write, %d after its first write of another object, %d after its first write of that object",
		len(v.waits), v.refused, v.early, v.across, v.late)
	t.Logf("a new leader waited for its first accepted write: median %v, worst %v", median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	if len(v.windows) > 0 {
		t.Logf("stale writes were accepted until %v after the new leader's first write", v.windows[len(v.windows)-1].Round(10*time.Microsecond))
	}
}

func (p *fencedCluster) podWriter(name string, options ...envtest.ClientOption) *podWriter {
	return &podWriter{name: name, client: p.pod(name, options...), fresh: make(chan write, 1000)}
}

// measureHandovers makes two pods write the same objects during handovers, and
// returns the result. servers contains the numbers of the API
// servers that the two pods use.
func measureHandovers(t *testing.T, cp *envtest.ControlPlane, mode fencing.Mode, handovers int, servers [2]int) result {
	t.Helper()
	p := newFencedCluster(t, cp)
	p.fence.Mode = mode
	p.enforce()
	a := p.podWriter("web-1", envtest.OnAPIServer(servers[0]))
	b := p.podWriter("web-10", envtest.OnAPIServer(servers[1]))
	current := byPod
	if mode == fencing.ByTerm {
		current = byTerm
	}
	v := evaluate(p.writeDuringHandovers(handovers, a, b), current, a, b)
	v.log(t)
	if len(v.waits) != handovers {
		t.Errorf("%d of %d new leaders have written", len(v.waits), handovers)
	}
	if v.refused == 0 {
		t.Error("no write was refused, so the test shows nothing")
	}
	return v
}

func TestFence_DuringHandoversByPodNoStaleWriteFollowsTheNewLeaders(t *testing.T) {
	t.Parallel()
	if v := measureHandovers(t, shared.get(t), fencing.ByPod, manyHandovers, [2]int{0, 0}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first write", v.late)
	}
}

func TestFence_DuringHandoversByTermNoStaleWriteFollowsTheNewLeaders(t *testing.T) {
	t.Parallel()
	if v := measureHandovers(t, shared.get(t), fencing.ByTerm, someHandovers, [2]int{0, 0}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first write", v.late)
	}
}

// With mode ByPod, each API server watches the Lease itself and may observe a
// new holder late. The test only measures this delay, because the delay has no
// upper limit.
func TestFence_DuringHandoversByPodWithTwoAPIServers(t *testing.T) {
	measureHandovers(t, exclusive.alone(t), fencing.ByPod, someHandovers, [2]int{0, 1})
}

func TestFence_DuringHandoversByTermWithTwoAPIServersNoStaleWriteFollows(t *testing.T) {
	if v := measureHandovers(t, exclusive.alone(t), fencing.ByTerm, someHandovers, [2]int{0, 1}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first write", v.late)
	}
}
