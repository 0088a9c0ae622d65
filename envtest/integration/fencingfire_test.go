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

// How often the Lease changes hands under fire.
const (
	manyHandovers = 200
	someHandovers = 50
)

// targets are the objects that are fired at.
var targets = []string{"one", "two"}

// A gunner is a pod that writes as fast as it can, whoever holds the Lease.
type gunner struct {
	name    string
	client  kubernetes.Interface
	token   atomic.Uint64 // of the last term in which it held the Lease
	fresh   chan shot     // its shots that hit
	hits    []shot
	refused int
}

// A shot is a write that was accepted. The database orders all of them, and the
// changes of the Lease.
type shot struct {
	by      string
	token   uint64 // which it was stamped with
	object  string
	version uint64
	at      time.Time // when the answer came
}

// A tenancy begins with the write that named its holder.
type tenancy struct {
	holder  string
	version uint64
	at      time.Time
}

// fire writes until it is told to stop.
func (g *gunner) fire(ctx context.Context, p *paddock) {
	for n := 0; ctx.Err() == nil; n++ {
		object := targets[n%len(targets)]
		token := g.token.Load()
		stamp := fmt.Sprintf("%d %s", token, g.name)
		patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}},"data":{"by":"%s %d"}}`, fencing.AnnotationKey(p.namespace+"/"+leaseName), stamp, g.name, n)
		written, err := g.client.CoreV1().ConfigMaps(p.namespace).Patch(ctx, object, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			hit := shot{g.name, token, object, version(p, written.ResourceVersion), time.Now()}
			g.hits = append(g.hits, hit)
			select {
			case g.fresh <- hit:
			default: // nobody waits for it
			}
		case fencing.IsStale(err):
			g.refused++
		default:
			p.Errorf("%s: %v", g.name, err)
			return
		}
	}
}

func version(p *paddock, text string) uint64 {
	v, err := strconv.ParseUint(text, 10, 64)
	must(p.T, err)
	return v
}

// underFire hands the Lease over, again and again, while all pods write. A handover
// ends when its new holder has written each object.
func (p *paddock) underFire(handovers int, gunners ...*gunner) []tenancy {
	for _, object := range targets {
		_, err := p.admin().CoreV1().ConfigMaps(p.namespace).Create(p.Context(), p.configMap(object), metav1.CreateOptions{})
		must(p.T, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	for _, g := range gunners {
		g.token.Store(1)
		all.Go(func() { g.fire(ctx, p) })
	}
	var tenancies []tenancy
	for i := range handovers {
		g := gunners[i%len(gunners)]
		lease := p.hold(g.name)
		next := tenancy{g.name, version(p, lease.ResourceVersion), time.Now()}
		tenancies = append(tenancies, next)
		g.token.Store(next.version)
		missing := slices.Clone(targets)
		for len(missing) > 0 {
			select {
			case hit := <-g.fresh:
				if hit.version > next.version && hit.token == next.version {
					missing = slices.DeleteFunc(missing, func(object string) bool { return object == hit.object })
				}
			case <-limit():
				p.Fatalf("handover %d: %s waits for %v", i, g.name, missing)
			}
		}
	}
	return tenancies
}

// A verdict is what came of the shots.
type verdict struct {
	refused int             // writes
	early   int             // writes of others than the holder, accepted before its first one of that object
	late    int             // the same, after it
	across  int             // the same, after its first one of another object only
	windows []time.Duration // how long after the holder's first write of that object late ones were answered
	waits   []time.Duration // of new holders, from the answer to the change of the Lease to that of their first write
}

// rightful tells the writes of a holder from stale ones. By pod, a holder that does
// not know yet that it is one may write; by term its writes carry an older token.
type rightful func(s shot, t tenancy) bool

func byPod(s shot, t tenancy) bool  { return s.by == t.holder }
func byTerm(s shot, t tenancy) bool { return s.token == t.version }

// judge sorts the shots, which are in the order in which each gunner fired.
func judge(tenancies []tenancy, is rightful, gunners ...*gunner) (v verdict) {
	first := make([]map[string]shot, len(tenancies)) // of the holder, by object
	stale := map[int][]shot{}                        // by tenancy
	for i := range first {
		first[i] = map[string]shot{}
	}
	for _, g := range gunners {
		v.refused += g.refused
		for _, hit := range g.hits {
			i := tenancyAt(tenancies, hit.version)
			if i < 0 {
				continue
			}
			_, found := first[i][hit.object]
			switch {
			case !is(hit, tenancies[i]):
				stale[i] = append(stale[i], hit)
			case !found:
				if len(first[i]) == 0 {
					v.waits = append(v.waits, hit.at.Sub(tenancies[i].at))
				}
				first[i][hit.object] = hit
			}
		}
	}
	for i, shots := range stale {
		for _, hit := range shots {
			v.add(hit, first[i])
		}
	}
	slices.Sort(v.waits)
	slices.Sort(v.windows)
	return v
}

// tenancyAt is the one in which a version was written, -1 if none had begun.
func tenancyAt(tenancies []tenancy, version uint64) int {
	i, _ := slices.BinarySearchFunc(tenancies, version, func(t tenancy, version uint64) int {
		return cmp.Compare(t.version, version)
	})
	return i - 1
}

// add counts a stale shot, given the holder's first ones.
func (v *verdict) add(hit shot, first map[string]shot) {
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

func (v verdict) log(t *testing.T) {
	t.Helper()
	median, worst := v.waits[len(v.waits)/2], v.waits[len(v.waits)-1]
	t.Logf("%d handovers; stale writes: %d refused, %d accepted before the new leader's first one, %d after its first one of another object, %d after its first one of that object",
		len(v.waits), v.refused, v.early, v.across, v.late)
	t.Logf("a new leader waited for its first accepted write: median %v, worst %v", median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))
	if len(v.windows) > 0 {
		t.Logf("stale writes were accepted until %v after the new leader's first one", v.windows[len(v.windows)-1].Round(10*time.Microsecond))
	}
}

func (p *paddock) gunner(name string, options ...envtest.ClientOption) *gunner {
	return &gunner{name: name, client: p.pod(name, options...), fresh: make(chan shot, 1000)}
}

// fightOn has two pods fire at the same objects, each through that API server.
func fightOn(t *testing.T, cp *envtest.ControlPlane, mode fencing.Mode, handovers int, servers [2]int) verdict {
	t.Helper()
	p := newPaddock(t, cp)
	p.fence.Mode = mode
	p.enforce()
	a := p.gunner("web-1", envtest.OnAPIServer(servers[0]))
	b := p.gunner("web-10", envtest.OnAPIServer(servers[1]))
	is := byPod
	if mode == fencing.ByTerm {
		is = byTerm
	}
	v := judge(p.underFire(handovers, a, b), is, a, b)
	v.log(t)
	if len(v.waits) != handovers {
		t.Errorf("%d of %d new leaders have written", len(v.waits), handovers)
	}
	if v.refused == 0 {
		t.Error("no write was refused: nobody was under fire")
	}
	return v
}

func TestFence_UnderFireByPodNoStaleWriteFollowsTheNewLeaders(t *testing.T) {
	t.Parallel()
	if v := fightOn(t, shared.get(t), fencing.ByPod, manyHandovers, [2]int{0, 0}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first one", v.late)
	}
}

func TestFence_UnderFireByTermNoStaleWriteFollowsTheNewLeaders(t *testing.T) {
	t.Parallel()
	if v := fightOn(t, shared.get(t), fencing.ByTerm, someHandovers, [2]int{0, 0}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first one", v.late)
	}
}

// By pod each API server knows the holder from a watch of its own: the test
// measures how far they are apart. It asserts nothing about that, for nothing
// bounds it.
func TestFence_UnderFireByPodWithTwoAPIServers(t *testing.T) {
	fightOn(t, battered.alone(t), fencing.ByPod, someHandovers, [2]int{0, 1})
}

func TestFence_UnderFireByTermHasNoWindowWithTwoAPIServers(t *testing.T) {
	if v := fightOn(t, battered.alone(t), fencing.ByTerm, someHandovers, [2]int{0, 1}); v.late > 0 {
		t.Errorf("%d stale writes of an object were accepted after the new leader's first one", v.late)
	}
}
