package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

const (
	ledgerName = "ledger"
	ledgerKey  = "entries"
)

// An entry is one line of the ledger, written by a leader in one term.
type entry struct {
	Replica string    `json:"replica"`
	Term    uint64    `json:"term"`
	Seq     int       `json:"seq"` // counts from 1 in each term
	At      time.Time `json:"at"`  // just before it was sent
}

// ledger is a ConfigMap to which leaders append.
type ledger struct {
	client typedcorev1.ConfigMapInterface
}

func (l ledger) create(ctx context.Context) error {
	_, err := l.client.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: ledgerName}}, metav1.CreateOptions{})
	return err
}

// page is the ledger as it was read. Writing it back succeeds only if nobody
// has written since.
type page struct {
	object  *corev1.ConfigMap
	entries []entry
}

func (l ledger) read(ctx context.Context) (*page, error) {
	object, err := l.client.Get(ctx, ledgerName, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	entries, err := decodeEntries(object.Data[ledgerKey])
	return &page{object: object, entries: entries}, err
}

// append writes the page with one more entry.
func (l ledger) append(ctx context.Context, p *page, e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	object := p.object.DeepCopy()
	if object.Data == nil {
		object.Data = map[string]string{}
	}
	object.Data[ledgerKey] += string(line) + "\n"
	_, err = l.client.Update(ctx, object, metav1.UpdateOptions{})
	return err
}

// last is the newest entry, the zero entry if there is none.
func (p *page) last() entry {
	if len(p.entries) == 0 {
		return entry{}
	}
	return p.entries[len(p.entries)-1]
}

func decodeEntries(text string) ([]entry, error) {
	var entries []entry
	decoder := json.NewDecoder(bytes.NewBufferString(text))
	for decoder.More() {
		var e entry
		if err := decoder.Decode(&e); err != nil {
			return nil, fmt.Errorf("the ledger is damaged after %d entries: %w", len(entries), err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}
