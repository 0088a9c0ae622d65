package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	goyaml "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/haproxy-template-ic/incumbent/leaderelection/internal/safetext"
)

var objectFormats = []string{"yaml", "json"}

// printObjects prints objects in a form that kubectl apply can read. If format is
// "json", it prints one JSON document. For any other format, it prints the text in the
// parameter comment, and then one YAML document for each object.
func printObjects(out io.Writer, format, comment string, objects ...runtime.Object) error {
	if format == "json" {
		return printJSON(out, objects)
	}
	text := []byte(comment)
	for i, object := range objects {
		if i > 0 {
			text = append(text, "---\n"...)
		}
		document, err := toYAML(object)
		if err != nil {
			return err
		}
		text = append(text, document...)
	}
	_, err := out.Write(text)
	return err
}

// printJSON prints a single object unchanged, and several objects as one List. kubectl
// uses the same format.
func printJSON(out io.Writer, objects []runtime.Object) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "    ")
	if len(objects) == 1 {
		return encoder.Encode(objects[0])
	}
	return encoder.Encode(struct {
		metav1.TypeMeta `json:",inline"`
		Items           []runtime.Object `json:"items"`
	}{metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, objects})
}

// toYAML returns object as YAML. Texts with an unsafe character or a line break are in
// double quotes, because an escape sequence has a meaning only there.
func toYAML(object any) ([]byte, error) {
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	// A reader of YAML refuses or changes some characters that JSON contains unescaped.
	// It accepts the escape sequences of JSON only up to U+FFFF, and all characters
	// above.
	text = []byte(safetext.Escape(string(text), func(r rune) bool { return safetext.IsUnsafe(r) && r <= 0xffff }))
	if text, err = yaml.JSONToYAML(text); err != nil {
		return nil, err
	}
	var document goyaml.Node
	if err := goyaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if !quoteUnsafe(&document) {
		return text, nil
	}
	var quoted bytes.Buffer
	encoder := goyaml.NewEncoder(&quoted)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	err = errors.Join(encoder.Encode(&document), encoder.Close())
	return quoted.Bytes(), err
}

// quoteUnsafe selects double quotes for each text that has an unsafe character. It
// reports whether there is such a text.
func quoteUnsafe(node *goyaml.Node) (found bool) {
	if strings.ContainsFunc(node.Value, safetext.IsUnsafe) {
		node.Style, found = goyaml.DoubleQuotedStyle, true
	}
	for _, child := range node.Content {
		found = quoteUnsafe(child) || found
	}
	return found
}
