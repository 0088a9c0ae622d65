package table

import (
	"fmt"
	"hash/fnv"
	"slices"
)

// SlabSize is the number of shards in one slab.
const SlabSize = 64

// MaxShards is the largest number of shards of a group.
const MaxShards = 100_000

// A Layout is the division of a group into shards. All members of a group use the layout
// of the table.
type Layout struct {
	Shards int    // the number of shards
	Names  string // a hash of the names of the shards; "" if the shards have numbers only
}

// NewLayout returns the layout of numbered shards if names is empty, and otherwise the
// layout of the named shards. Names must be sorted.
func NewLayout(shards int, names []string) Layout {
	if len(names) == 0 {
		return Layout{Shards: shards}
	}
	h := fnv.New64a()
	for _, name := range names {
		_, _ = fmt.Fprintf(h, "%d %s\n", len(name), name)
	}
	return Layout{len(names), fmt.Sprintf("%016x", h.Sum64())}
}

// Label returns the value of LayoutLabel.
func (l Layout) Label() string {
	if l.Names == "" {
		return "numbered"
	}
	return l.Names
}

// Slabs returns the number of slabs of the table.
func (l Layout) Slabs() int { return (l.Shards + SlabSize - 1) / SlabSize }

// Entries returns the number of entries of slab n.
func (l Layout) Entries(n int) int { return max(0, min(SlabSize, l.Shards-n*SlabSize)) }

// ShardOf returns the numbered shard of a key.
func (l Layout) ShardOf(key string) int {
	hash := uint64(14695981039346656037)
	for i := range len(key) {
		hash = (hash ^ uint64(key[i])) * 1099511628211
	}
	return int(Mix(hash) % uint64(l.Shards))
}

// Mix spreads the bits of a hash. Without it, similar keys would share a shard, because
// FNV changes mostly the low bits when the last character changes.
func Mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// IndexOf returns the shard with the given name. names must be sorted.
func IndexOf(names []string, name string) (shard int, found bool) {
	return slices.BinarySearch(names, name)
}
