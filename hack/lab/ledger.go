package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const (
	// WorkPeriod is the time between two ledger entries of a leader.
	WorkPeriod = 200 * time.Millisecond
	// RequestTimeout is the maximum total duration of the requests that write one
	// ledger entry.
	RequestTimeout = 2 * time.Second
)

// The keys of the data in a ledger's ConfigMap. A ledger is written either with Append
// or with Overwrite.
const (
	entriesKey = "entries" // all entries, one per line; written by Append
	entryKey   = "entry"   // the newest entry; written by Overwrite
	// TermKey is the key of the newest entry's term. Overwrite and SetTerm write the
	// term.
	TermKey = "term"
)

// An Entry is a record in a ledger. It shows which replica worked, and when.
type Entry struct {
	Replica string    `json:"replica"`     // the identity of the replica that wrote the entry
	Term    uint64    `json:"term,string"` // the fencing token of the replica's term
	Seq     int       `json:"seq"`         // the number of the entry in its term, starting with 1
	At      time.Time `json:"at"`          // the time just before the replica called IsLeader for this entry
}

// A Ledger is a ConfigMap into which leaders write entries.
type Ledger struct {
	// Client is the client for the ConfigMaps in the ledger's namespace.
	Client typedcorev1.ConfigMapInterface
	// Name is the name of the ConfigMap.
	Name string
}

// Create creates the ConfigMap of the ledger with the given data.
func (l Ledger) Create(ctx context.Context, data map[string]string) error {
	_, err := l.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: l.Name}, Data: data}, metav1.CreateOptions{})
	return err
}

// A Page is the content of a ledger at the time when Read was called.
type Page struct {
	// Entries contains all entries that were written with Append, oldest first.
	Entries []Entry

	object *corev1.ConfigMap
}

// Read returns the current content of the ledger.
func (l Ledger) Read(ctx context.Context) (*Page, error) {
	object, err := l.Client.Get(ctx, l.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	entries, err := decodeEntries(object.Data[entriesKey])
	return &Page{object: object, Entries: entries}, err
}

// Append adds the entry e to the ledger. p must be the result of Read.
// Append returns a conflict error if the ledger has changed since Read returned p.
func (l Ledger) Append(ctx context.Context, p *Page, e Entry) error {
	object := p.object.DeepCopy()
	if object.Data == nil {
		object.Data = map[string]string{}
	}
	object.Data[entriesKey] += string(mustMarshal(e)) + "\n"
	_, err := l.Client.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// Overwrite replaces the newest entry of the ledger by the entry e. It does not compare
// the two entries.
func (l Ledger) Overwrite(ctx context.Context, e Entry) error {
	return l.patch(ctx, map[string]any{"data": map[string]string{entryKey: string(mustMarshal(e)), TermKey: fmt.Sprint(e.Term)}})
}

// SetTerm changes only the term that is stored under TermKey.
func (l Ledger) SetTerm(ctx context.Context, term uint64) error {
	return l.patch(ctx, map[string]any{"data": map[string]string{TermKey: fmt.Sprint(term)}})
}

// Touch sets a label of the ledger's ConfigMap to the given value. It changes no entry.
func (l Ledger) Touch(ctx context.Context, value string) error {
	return l.patch(ctx, map[string]any{"metadata": map[string]any{"labels": map[string]string{"late": value}}})
}

func (l Ledger) patch(ctx context.Context, patch any) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	_, err := l.Client.Patch(ctx, l.Name, types.MergePatchType, mustMarshal(patch), metav1.PatchOptions{})
	return err
}

// Last returns the newest entry in the Page, or the zero Entry if the Page has no
// entries.
func (p *Page) Last() Entry {
	if len(p.Entries) == 0 {
		return Entry{}
	}
	return p.Entries[len(p.Entries)-1]
}

func decodeEntries(text string) ([]Entry, error) {
	var entries []Entry
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	for decoder.More() {
		var e Entry
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("the ledger is damaged after %d entries: %w", len(entries), err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Term returns the fencing token of the term that ctx belongs to. The parameter ctx
// must be the context of a leader's work. Term panics if ctx has no term.
func Term(ctx context.Context) uint64 {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		panic("bug: the work's context has no term")
	}
	return uint64(term.Token)
}

// Work calls the function write once in each WorkPeriod until ctx is done. Each call
// gets an entry with a new sequence number. If write returns false, the next call gets
// the same sequence number again.
func Work(ctx context.Context, replica string, write func(ctx context.Context, e Entry) (done bool)) {
	term := Term(ctx)
	ticker := time.NewTicker(WorkPeriod)
	defer ticker.Stop()
	for seq := 1; ctx.Err() == nil; {
		if write(ctx, Entry{Replica: replica, Term: term, Seq: seq}) {
			seq++
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}
