package lease

import (
	"math"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestVersion_IsTheWholeNumberOrAnError(t *testing.T) {
	for text, want := range map[string]uint64{
		"": 0, "1": 1, "9007199254740993": 1<<53 + 1, "999999999999999999": 999999999999999999, "1753647547040015001": 1753647547040015001,
		"9223372036854775808": 1 << 63, "18446744073709551615": math.MaxUint64,
	} {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{ResourceVersion: text}}
		if got, err := Version(lease), CheckVersion(lease); got != want || err != nil {
			t.Errorf("the version of %q is %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"18446744073709551616", "1" + strings.Repeat("0", 99), "-1", "+1", "1.0", "1e3", "0x10", " 1", "v1"} {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "app", ResourceVersion: text}}
		if err := CheckVersion(lease); err == nil || !strings.Contains(err.Error(), "ns/app") || !strings.Contains(err.Error(), `"`+text+`"`) || Version(lease) != 0 {
			t.Errorf("the version of %q is %d, %v, want an error that names it", text, Version(lease), err)
		}
	}
	if Version(nil) != 0 || CheckVersion(nil) != nil {
		t.Error("a missing Lease has a version")
	}
}
