package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// An entry is what a leader writes into a ledger.
type entry struct {
	Replica string    `json:"replica"`
	Term    uint64    `json:"term"`
	Seq     int       `json:"seq"` // counts from 1 in each term
	At      time.Time `json:"at"`  // before it asked whether it leads
}

const (
	entryKey = "entry"
	termKey  = "term"

	openLedger    = "open"
	guardedLedger = "guarded"
)

// A history is every version that the ledgers ever had, in the order in which
// etcd applied them: it asks etcd and no API server.
type history struct {
	etcd   string // its address
	prefix string // of the ledgers' keys

	mu       sync.Mutex
	revision int64 // all up to here are in
	entries  map[string][]entry
	broken   error // what was read makes no sense
}

func newHistory(etcd, namespace string) *history {
	return &history{etcd: etcd, prefix: "/registry/configmaps/" + namespace + "/", entries: map[string][]entry{}}
}

// of returns what was written into a ledger so far.
func (h *history) of(ledger string) []entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries[ledger])
}

// leader is who wrote last, "" if nobody has.
func (h *history) leader() (entry, bool) {
	entries := h.of(openLedger)
	if len(entries) == 0 {
		return entry{}, false
	}
	return entries[len(entries)-1], true
}

// follow reads until ctx ends, also across restarts of etcd.
func (h *history) follow(ctx context.Context) {
	for ctx.Err() == nil {
		_ = h.watch(ctx) // etcd is away: it comes back
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// complete waits until all that etcd has of the ledgers now was read.
func (h *history) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, fmt.Errorf("etcd's history was not read to its end in a minute"))
	defer cancel()
	newest, err := h.newest(ctx)
	if err != nil {
		return err
	}
	for {
		h.mu.Lock()
		revision, broken := h.revision, h.broken
		h.mu.Unlock()
		if broken != nil || revision >= newest {
			return broken
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// keyValue is a version of a key in etcd's JSON, where numbers are strings.
type keyValue struct {
	Key         []byte `json:"key"`
	Value       []byte `json:"value"`
	ModRevision string `json:"mod_revision"`
}

// span is the range of keys that begin with the prefix.
func (h *history) span() map[string]any {
	end := []byte(h.prefix)
	end[len(end)-1]++
	return map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(h.prefix)), "range_end": base64.StdEncoding.EncodeToString(end)}
}

// newest is the revision of the last write to the ledgers.
func (h *history) newest(ctx context.Context) (int64, error) {
	body, err := h.ask(ctx, "/v3/kv/range", h.span())
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	var reply struct {
		Kvs []keyValue `json:"kvs"`
	}
	if err := json.NewDecoder(body).Decode(&reply); err != nil {
		return 0, fmt.Errorf("etcd's answer: %w", err)
	}
	var newest int64
	for _, kv := range reply.Kvs {
		revision, err := strconv.ParseInt(kv.ModRevision, 10, 64)
		if err != nil {
			return 0, err
		}
		newest = max(newest, revision)
	}
	return newest, nil
}

// watch reads from where it stopped until etcd ends the watch.
func (h *history) watch(ctx context.Context) error {
	request := h.span()
	h.mu.Lock()
	request["start_revision"] = strconv.FormatInt(h.revision+1, 10)
	h.mu.Unlock()
	body, err := h.ask(ctx, "/v3/watch", map[string]any{"create_request": request})
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	for lines := json.NewDecoder(body); ; {
		var reply struct {
			Result struct {
				CompactRevision string `json:"compact_revision"`
				Events          []struct {
					KV keyValue `json:"kv"`
				} `json:"events"`
			} `json:"result"`
		}
		if err := lines.Decode(&reply); err != nil {
			return err
		}
		h.mu.Lock()
		if compacted := reply.Result.CompactRevision; compacted != "" && compacted != "0" {
			h.broken = fmt.Errorf("etcd has forgotten its history up to revision %s", compacted)
		}
		for _, event := range reply.Result.Events {
			h.addLocked(event.KV)
		}
		h.mu.Unlock()
	}
}

func (h *history) addLocked(kv keyValue) {
	revision, err := strconv.ParseInt(kv.ModRevision, 10, 64)
	if err != nil {
		h.broken = err
		return
	}
	h.revision = revision
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(kv.Value, nil, nil)
	configMap, ok := object.(*corev1.ConfigMap)
	if err != nil || !ok {
		h.broken = fmt.Errorf("revision %d of %s is no ConfigMap: %w", revision, kv.Key, err)
		return
	}
	text, written := configMap.Data[entryKey]
	if !written {
		return // it was created
	}
	var e entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		h.broken = fmt.Errorf("revision %d of %s: %w", revision, kv.Key, err)
		return
	}
	name := path.Base(string(kv.Key))
	h.entries[name] = append(h.entries[name], e)
}

// ask sends a request to etcd and returns the body of the reply.
func (h *history) ask(ctx context.Context, path string, what any) (io.ReadCloser, error) {
	text, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.etcd+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		_ = reply.Body.Close()
		return nil, fmt.Errorf("%s answered %s", request.URL, reply.Status)
	}
	return reply.Body, nil
}
