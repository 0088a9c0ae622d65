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
	// WorkPeriod is the time from one ledger entry of a leader to the next.
	WorkPeriod = 200 * time.Millisecond
	// RequestTimeout limits a request of the work, so that one that hangs does not
	// fill a whole term.
	RequestTimeout = 2 * time.Second
)

// The keys of a ledger's data.
const (
	entriesKey = "entries" // all entries, one per line; only Append writes it
	entryKey   = "entry"   // the last entry that Overwrite wrote
	// TermKey is the key of the term of the entry that Overwrite wrote.
	TermKey = "term"
)

// An Entry is the record of one piece of work in one term.
type Entry struct {
	Replica string    `json:"replica"` // the identity of the writer
	Term    uint64    `json:"term"`    // its fencing token
	Seq     int       `json:"seq"`     // counts from 1 in each term
	At      time.Time `json:"at"`      // when the writer called IsLeader, or before
}

// A Ledger is a ConfigMap into which leaders write entries.
type Ledger struct {
	// Client is the client of the ledger's namespace.
	Client typedcorev1.ConfigMapInterface
	// Name is the ConfigMap's name.
	Name string
}

// Create creates an empty ledger.
func (l Ledger) Create(ctx context.Context, data map[string]string) error {
	_, err := l.Client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: l.Name}, Data: data}, metav1.CreateOptions{})
	return err
}

// A Page is the ledger as it was read. Append fails if the ledger has changed since.
type Page struct {
	// Entries are all entries, oldest first.
	Entries []Entry

	object *corev1.ConfigMap
}

// Read reads all entries that Append wrote.
func (l Ledger) Read(ctx context.Context) (*Page, error) {
	object, err := l.Client.Get(ctx, l.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	entries, err := decodeEntries(object.Data[entriesKey])
	return &Page{object: object, Entries: entries}, err
}

// Append writes the page with one more entry.
func (l Ledger) Append(ctx context.Context, p *Page, e Entry) error {
	object := p.object.DeepCopy()
	if object.Data == nil {
		object.Data = map[string]string{}
	}
	object.Data[entriesKey] += string(mustMarshal(e)) + "\n"
	_, err := l.Client.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// Overwrite replaces the last entry, whatever the ledger contains.
func (l Ledger) Overwrite(ctx context.Context, e Entry) error {
	return l.patch(ctx, map[string]any{"data": map[string]string{entryKey: string(mustMarshal(e)), TermKey: fmt.Sprint(e.Term)}})
}

// SetTerm changes the term of the last entry only.
func (l Ledger) SetTerm(ctx context.Context, term uint64) error {
	return l.patch(ctx, map[string]any{"data": map[string]string{TermKey: fmt.Sprint(term)}})
}

// Touch changes a label of the ledger and no entry, whatever the ledger contains.
func (l Ledger) Touch(ctx context.Context, value string) error {
	return l.patch(ctx, map[string]any{"metadata": map[string]any{"labels": map[string]string{"late": value}}})
}

func (l Ledger) patch(ctx context.Context, patch any) error {
	ctx, cancel := context.WithTimeout(ctx, RequestTimeout)
	defer cancel()
	_, err := l.Client.Patch(ctx, l.Name, types.MergePatchType, mustMarshal(patch), metav1.PatchOptions{})
	return err
}

// Last returns the newest entry; the zero Entry if there is none.
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

// Term returns the fencing token of a leader's context.
func Term(ctx context.Context) uint64 {
	term, ok := leaderelection.TermFromContext(ctx)
	if !ok {
		panic("bug: the work's context has no term")
	}
	return uint64(term.Token)
}

// Work calls write once per WorkPeriod with the next entry of the term until ctx
// ends. It repeats an entry for which write returned false.
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
