package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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

// A History contains every entry that Overwrite wrote into the ledgers of one
// namespace. The History reads the entries directly from etcd.
type History struct {
	etcd   string // the URL of etcd
	prefix string // the prefix of the etcd keys of all ledgers

	mu       sync.Mutex
	revision int64 // the last etcd revision that was read
	entries  map[string][]Entry
	broken   error // the reason why the History is incomplete; nil if the History is complete
}

// NewHistory returns an empty History of the ledgers in the namespace. The parameter
// etcd is the URL of etcd. Call Follow in a goroutine to fill the History.
func NewHistory(etcd, namespace string) *History {
	return &History{etcd: etcd, prefix: "/registry/configmaps/" + namespace + "/", entries: map[string][]Entry{}}
}

// Of returns the entries that were read from the given ledger, oldest first.
func (h *History) Of(ledger string) []Entry {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.entries[ledger])
}

// Follow reads ledger entries from etcd until ctx is done. If etcd stops, Follow
// reconnects when etcd runs again.
func (h *History) Follow(ctx context.Context) {
	for ctx.Err() == nil {
		_ = h.watch(ctx) // ignore the error, because the next call reconnects
		_ = Sleep(ctx, 50*time.Millisecond)
	}
}

// Complete waits until the History contains all entries that etcd stored before the
// call of Complete. Follow must run at the same time. Complete returns an error after
// one minute, or if etcd returned unexpected data.
func (h *History) Complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("etcd's history was not read completely within a minute"))
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
		if err := Sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// A keyValue is one version of a key in etcd. The struct tags are the field names in
// the JSON format of etcd, which encodes 64-bit integers as strings.
type keyValue struct {
	Key         []byte `json:"key"`
	Value       []byte `json:"value"`
	ModRevision string `json:"mod_revision"`
}

// keyRange returns the JSON fields that restrict an etcd request to the keys that begin
// with h.prefix.
func (h *History) keyRange() map[string]any {
	end := []byte(h.prefix)
	end[len(end)-1]++
	return map[string]any{"key": base64.StdEncoding.EncodeToString([]byte(h.prefix)), "range_end": base64.StdEncoding.EncodeToString(end)}
}

// newest returns the etcd revision of the last change to a ledger.
func (h *History) newest(ctx context.Context) (int64, error) {
	body, err := h.post(ctx, "/v3/kv/range", h.keyRange())
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }()
	var reply struct {
		Kvs []keyValue `json:"kvs"`
	}
	if err := json.NewDecoder(body).Decode(&reply); err != nil {
		return 0, fmt.Errorf("etcd's reply: %w", err)
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

// watch reads all versions of the ledgers after the etcd revision h.revision. It
// returns when the connection to etcd breaks or ctx is done.
func (h *History) watch(ctx context.Context) error {
	request := h.keyRange()
	h.mu.Lock()
	request["start_revision"] = strconv.FormatInt(h.revision+1, 10)
	h.mu.Unlock()
	body, err := h.post(ctx, "/v3/watch", map[string]any{"create_request": request})
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
			h.broken = fmt.Errorf("etcd has compacted its history up to revision %s", compacted)
		}
		for _, event := range reply.Result.Events {
			h.addLocked(event.KV)
		}
		h.mu.Unlock()
	}
}

func (h *History) addLocked(kv keyValue) {
	revision, err := strconv.ParseInt(kv.ModRevision, 10, 64)
	if err != nil {
		h.broken = err
		return
	}
	h.revision = revision
	object, _, err := scheme.Codecs.UniversalDeserializer().Decode(kv.Value, nil, nil)
	configMap, ok := object.(*corev1.ConfigMap)
	if err != nil || !ok {
		h.broken = fmt.Errorf("revision %d of %s is not a ConfigMap: %w", revision, kv.Key, err)
		return
	}
	text, written := configMap.Data[entryKey]
	if !written {
		return // the ledger has no entry yet
	}
	var e Entry
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		h.broken = fmt.Errorf("revision %d of %s: %w", revision, kv.Key, err)
		return
	}
	name := path.Base(string(kv.Key))
	h.entries[name] = append(h.entries[name], e)
}

// post sends the message to etcd in JSON format and returns the body of etcd's reply.
func (h *History) post(ctx context.Context, path string, message any) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, h.etcd+path, bytes.NewReader(mustMarshal(message)))
	if err != nil {
		return nil, err
	}
	reply, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if reply.StatusCode != http.StatusOK {
		_ = reply.Body.Close()
		return nil, fmt.Errorf("%s replied %s", request.URL, reply.Status)
	}
	return reply.Body, nil
}
