package adopt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A yamlFile is a YAML file with its documents. The nodes of the documents name the lines
// and columns of the text.
type yamlFile struct {
	path      string
	text      []byte
	documents []*yaml.Node
}

func parseYAML(file string, text []byte) (*yamlFile, error) {
	f := &yamlFile{path: file, text: text}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		switch {
		case errors.Is(err, io.EOF):
			return f, nil
		case err != nil:
			return nil, fmt.Errorf("%s cannot be parsed: %w", file, err)
		case len(document.Content) == 1:
			f.documents = append(f.documents, document.Content[0])
		}
	}
}

// editYAML returns the text with the edits of e. It checks that the new text contains
// everything that the old text contains, and that e has no further edits.
func editYAML(file string, text []byte, e editor) (changed []byte, notes []string, found bool, err error) {
	f, err := parseYAML(file, text)
	if err != nil {
		return nil, nil, false, err
	}
	edits, notes, found, err := e.edit(f)
	if err != nil || len(edits) == 0 {
		return text, notes, found, err
	}
	if changed, err = apply(text, edits); err == nil {
		err = check(file, f, changed, e)
	}
	if err != nil {
		return nil, nil, false, fmt.Errorf("%s has an unusual form, so it cannot be changed safely (%w): change it by hand", file, err)
	}
	return changed, notes, found, nil
}

// check returns an error unless the new text of the file before contains all former
// values and needs no further edit of e.
func check(file string, before *yamlFile, changed []byte, e editor) error {
	after, err := parseYAML(file, changed)
	if err != nil {
		return err
	}
	if !extends(after, before) {
		return errors.New("another value changes as well")
	}
	edits, _, _, err := e.edit(after)
	if err == nil && len(edits) > 0 {
		err = errors.New("the change has no effect")
	}
	return err
}

// extends reports whether the documents of after contain all values of before.
func extends(after, before *yamlFile) bool {
	return slices.EqualFunc(after.documents, before.documents, func(a, b *yaml.Node) bool {
		var valueA, valueB any
		return a.Decode(&valueA) == nil && b.Decode(&valueB) == nil && contains(valueA, valueB)
	})
}

// contains reports whether after has all entries of the maps and lists in before, in the
// same order. All other values must be equal.
func contains(after, before any) bool {
	switch b := before.(type) {
	case nil: // a key without a value may get a list
		return true
	case map[string]any:
		a, ok := after.(map[string]any)
		for key, value := range b {
			ok = ok && contains(a[key], value)
		}
		return ok
	case []any:
		a, ok := after.([]any)
		i := 0
		for _, value := range a {
			if i < len(b) && contains(value, b[i]) {
				i++
			}
		}
		return ok && i == len(b)
	}
	return reflect.DeepEqual(after, before)
}

// value returns the key and the value of an entry of a mapping. Both are nil if there is
// no such entry.
func value(mapping *yaml.Node, key string) (k, v *yaml.Node) {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// valueAt returns the value at a path of keys, or nil.
func valueAt(node *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		_, node = value(node, key)
	}
	return node
}

// textAt returns the scalar at a path of keys, or "".
func textAt(node *yaml.Node, keys ...string) string {
	if v := valueAt(node, keys...); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// items returns the entries of a list. It returns none for any other node.
func items(list *yaml.Node) []*yaml.Node {
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

// offset returns the offset of a node in the text.
func (f *yamlFile) offset(node *yaml.Node) int {
	at := 0
	for range node.Line - 1 {
		at = lineEnd(f.text, at)
	}
	for range node.Column - 1 { // a column counts characters, not bytes
		if at < len(f.text) {
			at += max(1, len(string([]rune(string(f.text[at:min(len(f.text), at+4)]))[:1])))
		}
	}
	return at
}

// afterLine returns an edit that inserts lines below the line of a node. Each line is
// indented to the column.
func (f *yamlFile) afterLine(node *yaml.Node, column int, lines ...string) edit {
	indented := make([]string, len(lines))
	for i, line := range lines {
		indented[i] = strings.Repeat(" ", column-1) + line
	}
	return wholeLines(f.text, lineEnd(f.text, f.offset(node)), indented...)
}

// unusual returns the error for a value whose form the package cannot change.
func (f *yamlFile) unusual(node *yaml.Node, what string) error {
	return fmt.Errorf("%s:%d: %s has an unusual form, so it cannot be changed safely: change it by hand", f.path, node.Line, what)
}

// An item is a new entry of a list, in block style and in flow style.
type item struct {
	block []string
	flow  string
}

// insertItems returns an edit that inserts items at the begin of a list. The list is the
// value of key in mapping. At the begin of a list, the comments of the other entries
// remain where they are.
func (f *yamlFile) insertItems(mapping *yaml.Node, key string, entries ...item) (edit, error) {
	k, list := value(mapping, key)
	var lines, flow []string
	for _, entry := range entries {
		lines, flow = append(lines, entry.block...), append(flow, entry.flow)
	}
	switch {
	case k == nil:
		return f.insertKey(mapping, append([]string{key + ":"}, lines...)...)
	case list.Kind == yaml.ScalarNode && list.Tag == "!!null" && list.Value == "":
		return f.afterLine(k, k.Column, lines...), nil
	case list.Kind != yaml.SequenceNode || list.Alias != nil:
		return edit{}, f.unusual(k, key)
	case list.Style&yaml.FlowStyle == 0:
		return f.afterLine(k, list.Column, lines...), nil
	}
	at := f.offset(list)
	if at >= len(f.text) || f.text[at] != '[' {
		return edit{}, f.unusual(k, key)
	}
	text := strings.Join(flow, ", ")
	if len(list.Content) > 0 {
		text += ", "
	}
	return edit{at + 1, at + 1, text}, nil
}

// insertKey returns an edit that inserts an entry into a mapping, below its entry name.
func (f *yamlFile) insertKey(mapping *yaml.Node, lines ...string) (edit, error) {
	k, v := value(mapping, "name")
	if k == nil || v.Kind != yaml.ScalarNode || v.Line != k.Line || mapping.Style&yaml.FlowStyle != 0 {
		return edit{}, f.unusual(mapping, "the entry without "+lines[0])
	}
	return f.afterLine(k, k.Column, lines...), nil
}

// appendText returns an edit that appends a text to a list of texts.
func (f *yamlFile) appendText(mapping *yaml.Node, key, text string) (edit, error) {
	list := valueAt(mapping, key)
	if entries := items(list); len(entries) > 0 && list.Style&yaml.FlowStyle == 0 {
		return f.afterLine(entries[len(entries)-1], list.Column, "- "+text), nil
	}
	return f.insertItems(mapping, key, item{[]string{"- " + text}, text})
}
