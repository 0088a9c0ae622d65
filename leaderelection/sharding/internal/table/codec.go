package table

import (
	"encoding/json"
	"errors"
	"fmt"
)

// maxSlab is the longest encoding that Decode accepts, in bytes.
const maxSlab = 128 * 1024

// A wireSlab is the JSON in SlabAnnotation. Terms are listed once. Owners and next owners
// are positions in this list, and -1 means nobody.
type wireSlab struct {
	Shards int      `json:"shards"`
	Names  string   `json:"names,omitempty"`
	First  bool     `json:"first,omitempty"`
	Open   bool     `json:"open"`
	Terms  []string `json:"terms"`
	Acked  []int    `json:"acked,omitempty"`
	Owner  []int    `json:"owner"`
	Next   []int    `json:"next,omitempty"`
}

// Encode returns the value of SlabAnnotation.
func (s *Slab) Encode() string {
	w := wireSlab{Shards: s.Layout.Shards, Names: s.Layout.Names, First: s.First, Open: s.Open, Terms: []string{}, Owner: []int{}}
	positions := map[Term]int{{}: -1}
	position := func(t Term) int {
		p, known := positions[t]
		if !known {
			p = len(w.Terms)
			positions[t] = p
			w.Terms = append(w.Terms, t.String())
		}
		return p
	}
	moving := false
	for _, t := range s.Acked {
		w.Acked = append(w.Acked, position(t))
	}
	for _, e := range s.Entries {
		w.Owner, w.Next = append(w.Owner, position(e.Owner)), append(w.Next, position(e.Next))
		moving = moving || !e.Next.IsZero()
	}
	if !moving {
		w.Next = nil
	}
	text, err := json.Marshal(w)
	if err != nil {
		return "{}" // json.Marshal does not fail for a wireSlab
	}
	return string(text)
}

// Decode returns slab n of a table, from the value of SlabAnnotation. It returns an error if
// text is not a valid slab n. Such a slab counts as deleted: no member works on it.
func Decode(text string, n int) (*Slab, error) {
	if len(text) > maxSlab {
		return nil, fmt.Errorf("slab %d is too long: %d bytes, at most %d", n, len(text), maxSlab)
	}
	var w wireSlab
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return nil, fmt.Errorf("slab %d is no valid JSON: %w", n, err)
	}
	if w.Shards < 1 || w.Shards > MaxShards {
		return nil, fmt.Errorf("slab %d has an invalid number of shards: %d, want 1 to %d", n, w.Shards, MaxShards)
	}
	s := &Slab{Layout: Layout{w.Shards, w.Names}, First: w.First, Open: w.Open}
	if want := s.Layout.Entries(n); want == 0 || len(w.Owner) != want || w.Next != nil && len(w.Next) != want {
		return nil, fmt.Errorf("slab %d has %d owners and %d next owners, want %d", n, len(w.Owner), len(w.Next), want)
	}
	terms := make([]Term, len(w.Terms))
	for i, text := range w.Terms {
		t, err := ParseTerm(text)
		if err != nil {
			return nil, fmt.Errorf("slab %d: %w", n, err)
		}
		terms[i] = t
	}
	var bad error
	at := func(p int) Term {
		if p >= 0 && p < len(terms) {
			return terms[p]
		}
		if p != -1 {
			bad = errors.Join(bad, fmt.Errorf("slab %d names the unknown term %d", n, p))
		}
		return Term{}
	}
	for _, p := range w.Acked {
		s.Acked = append(s.Acked, at(p))
	}
	s.Entries = make([]Entry, len(w.Owner))
	for i := range w.Owner {
		s.Entries[i].Owner = at(w.Owner[i])
		if w.Next != nil {
			s.Entries[i].Next = at(w.Next[i])
		}
	}
	return s, bad
}
