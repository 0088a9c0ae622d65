package main

import (
	"encoding/json"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
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
		document, err := yaml.Marshal(object)
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
