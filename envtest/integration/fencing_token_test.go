package integration_test

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection/fencing"
)

// tokens are valid tokens in ascending order. The list contains neighbours at the limits
// of float64, int64 and uint64, and at each change of the number of digits that matters.
var tokens = []string{
	"1", "9", "10", "41",
	"9007199254740992", "9007199254740993", // 2^53 and the next number
	"175364754704001500", "999999999999999999", // 18 digits
	"1000000000000000000", "1753647547040015001", "1753647547040015002", // 19 digits
	"9223372036854775807", "9223372036854775808", // 2^63-1 and the next number
	"10000000000000000000", "18446744073709551615", "18446744073709551616", "99999999999999999999", // 20 digits; 2^64-1 and the next number
	"100000000000000000000", "1" + strings.Repeat("0", 99), "1" + strings.Repeat("0", 999),
}

// The API server compares tokens of every length, whatever the identities in the stamps
// are.
func TestFence_ByTermComparesTokensOfEveryLength(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	ctx, cancel := within()
	defer cancel()
	admin, pod := p.admin().CoreV1().ConfigMaps(p.namespace), p.pod("pod-a").CoreV1().ConfigMaps(p.namespace)
	object := p.configMap("subject")
	put := func(stamp string) error {
		object.Annotations = map[string]string{fencing.AnnotationKey(p.fence.LeaseNamespace + "/" + leaseName): stamp}
		_, err := pod.Update(ctx, object, metav1.UpdateOptions{})
		return err
	}
	_, err := admin.Create(ctx, object, metav1.CreateOptions{})
	must(t, err)
	for i, stored := range tokens {
		if err := put(stored + " pod-b_9 9"); err != nil {
			t.Fatalf("term %s after term %s: %v", stored, tokens[max(0, i-1)], err)
		}
		for _, lower := range tokens[:i] {
			err := put(lower + " pod-a_1 99999999999999999999999")
			if want := fmt.Sprintf(`the later term "%s pod-b_9 9", and the writer is in term "%s pod-a_1 `, stored, lower); !fencing.IsStale(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("term %s after term %s: %v, want it refused with %q", lower, stored, err, want)
			}
		}
		for _, same := range []string{stored + " pod-c", stored, stored + " pod-b_9 9"} {
			if err := put(same); err != nil {
				t.Errorf("%q in term %s: %v", same, stored, err)
			}
		}
	}
}

// A text that is not a canonical decimal number is no token. A write with such a text is
// refused. Such a text in a stored object does not prevent a write with a token.
func TestFence_ByTermTakesOnlyCanonicalTokens(t *testing.T) {
	t.Parallel()
	p := newFencedCluster(t, shared.get(t))
	p.fence.Mode = fencing.ByTerm
	p.enforce()
	ctx, cancel := within()
	defer cancel()
	admin, pod := p.admin().CoreV1().ConfigMaps(p.namespace), p.pod("pod-a").CoreV1().ConfigMaps(p.namespace)
	key := fencing.AnnotationKey(p.fence.LeaseNamespace + "/" + leaseName)
	object := p.configMap("subject")
	for _, stamp := range []string{
		"0 x", "00 x", "0041 x", "01753647547040015001 x", "-1 x", "+41 x", " 41 x", "1e30 x", "41.0 x", "0x99 x", "4_1 x", "41\tx", "41\nx", "41x", "٤١ x", "４１ x", "x 41",
		strings.Repeat("x", 200<<10), strings.Repeat("0", 200<<10), strings.Repeat("9", 200<<10) + "x", // evaluated within the cost limit of CEL
	} {
		object.Annotations = map[string]string{key: stamp}
		if _, err := pod.Create(ctx, object, metav1.CreateOptions{}); !fencing.IsStale(err) || !strings.Contains(err.Error(), "carries no token") {
			t.Errorf("a creation with the stamp %.50q: %v, want it refused because it carries no token", stamp, err)
		}
		_, err := admin.Create(ctx, object, metav1.CreateOptions{})
		must(t, err)
		object.Annotations = map[string]string{key: "1 pod-a"}
		if _, err := pod.Update(ctx, object, metav1.UpdateOptions{}); err != nil {
			t.Errorf("a write with a token, after the stamp %.50q: %v", stamp, err)
		}
		must(t, admin.Delete(ctx, "subject", metav1.DeleteOptions{}))
	}
}
