package envtest_test

import (
	"context"
	"slices"
	"strconv"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/kubernetes"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

// A ledger is what the leaders of one stage have written, each with the token of
// its term. The API server orders the entries, whatever any clock says.
type ledger struct {
	client    kubernetes.Interface
	namespace string
	rewound   bool // etcd was restored: resourceVersions order nothing any more
}

const ledgerLabel = "ledger"

// append writes an entry. Whether that succeeds is the network's business.
func (l ledger) append(ctx context.Context, worker string, token leaderelection.Token) {
	entry := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "ledger-", Labels: map[string]string{ledgerLabel: ""}},
		Data:       map[string]string{"worker": worker, "token": token.String()},
	}
	_, _ = l.client.CoreV1().ConfigMaps(l.namespace).Create(ctx, entry, metav1.CreateOptions{})
}

type entry struct {
	worker  string
	token   uint64
	version string
}

// entries returns all entries in the order in which the API server applied them.
func (l ledger) entries(t testing.TB) []entry {
	t.Helper()
	ctx, cancel := within()
	defer cancel()
	list, err := l.client.CoreV1().ConfigMaps(l.namespace).List(ctx, metav1.ListOptions{LabelSelector: ledgerLabel})
	if err != nil {
		t.Fatal(err)
	}
	entries := make([]entry, 0, len(list.Items))
	for _, item := range list.Items {
		token, err := strconv.ParseUint(item.Data["token"], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, entry{item.Data["worker"], token, item.ResourceVersion})
	}
	slices.SortFunc(entries, func(a, b entry) int {
		order, err := resourceversion.CompareResourceVersion(a.version, b.version)
		if err != nil {
			t.Fatal(err)
		}
		return order
	})
	return entries
}

// check fails the test if an entry was written after one with a greater token.
func (l ledger) check(t testing.TB) {
	t.Helper()
	if l.rewound {
		return
	}
	var last entry
	for _, e := range l.entries(t) {
		if e.token < last.token {
			t.Errorf("%s wrote with token %d at resourceVersion %s, after %s had written with token %d at %s",
				e.worker, e.token, e.version, last.worker, last.token, last.version)
		}
		last = e
	}
}
