package fencing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
)

// into returns body with the annotation of s added. It returns one form of the body,
// except for a JSON patch. For a JSON patch it returns several forms, because the
// stored object determines which form the API server can apply. The caller sends the
// forms one after the other until the API server applies one.
func (s stamp) into(contentType string, body []byte) ([][]byte, error) {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return nil, fmt.Errorf("its content type %q: %w", contentType, err)
	}
	switch mediaType {
	case string(types.JSONPatchType):
		return s.intoOperations(body)
	case string(types.MergePatchType), string(types.StrategicMergePatchType):
		body, err = s.intoObject(body, true)
	case runtime.ContentTypeJSON:
		body, err = s.intoObject(body, false)
	case string(types.ApplyYAMLPatchType), runtime.ContentTypeYAML:
		if body, err = yaml.ToJSON(body); err == nil { // the body may also be JSON, because JSON is valid YAML
			body, err = s.intoObject(body, false)
		}
	case runtime.ContentTypeProtobuf:
		body, err = s.intoProtobuf(body)
	default:
		err = fmt.Errorf("its content type is %q: set ContentType of the client's configuration to %q", mediaType, runtime.ContentTypeJSON)
	}
	return [][]byte{body}, err
}

// intoObject sets the annotation of s in a JSON object or in a patch of it, and changes
// no other field. It returns an error for a patch that sets annotations to null. Such a
// patch removes all annotations, and cannot add one at the same time.
func (s stamp) intoObject(body []byte, isPatch bool) ([]byte, error) {
	object, err := fieldsOf(body)
	if err != nil {
		return nil, err
	}
	metadata, err := fieldsOf(object["metadata"])
	if err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	if raw, found := metadata["annotations"]; found && isPatch && isNull(raw) {
		return nil, errors.New("it removes all annotations, name the annotations to remove")
	}
	annotations, err := fieldsOf(metadata["annotations"])
	if err != nil {
		return nil, fmt.Errorf("its annotations: %w", err)
	}
	for _, put := range []struct {
		in    map[string]json.RawMessage
		key   string
		value any
	}{{annotations, s.key, s.value}, {metadata, "annotations", annotations}, {object, "metadata", metadata}} {
		if put.in[put.key], err = json.Marshal(put.value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(object)
}

// fieldsOf returns the fields of a JSON object. If raw is empty or null, it returns an
// empty map.
func fieldsOf(raw json.RawMessage) (map[string]json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(raw) == 0 || isNull(raw) {
		return fields, nil
	}
	err := json.Unmarshal(raw, &fields)
	return fields, err
}

func isNull(raw json.RawMessage) bool { return bytes.Equal(bytes.TrimSpace(raw), []byte("null")) }

// intoProtobuf sets the annotation of s in an object that is encoded as protobuf. It
// returns an error if the kind of the object is not in client-go's scheme.
func (s stamp) intoProtobuf(body []byte) ([]byte, error) {
	serializer := protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	object, _, err := serializer.Decode(body, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("set ContentType of the client's configuration to %q: %w", runtime.ContentTypeJSON, err)
	}
	metadata, err := meta.Accessor(object)
	if err != nil {
		return nil, err
	}
	annotations := metadata.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[s.key] = s.value
	metadata.SetAnnotations(annotations)
	var out bytes.Buffer
	err = serializer.Encode(object, &out)
	return out.Bytes(), err
}

const annotationsPath = "/metadata/annotations"

// An operation is one operation of a JSON patch. A nil Value is encoded as null. A
// "test" operation with null also passes if the field is missing.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// intoOperations appends operations that set the annotation of s to a JSON patch. It
// returns three forms of the patch. The first form adds the annotation to existing
// annotations, and fails for an object without annotations. The second form adds a map
// with only this annotation, and fails for an object with annotations. The third form
// equals the first form, because another client may have added annotations between the
// two requests.
func (s stamp) intoOperations(body []byte) ([][]byte, error) {
	name := strings.NewReplacer("~", "~0", "/", "~1").Replace(s.key)
	beside := []operation{{"add", annotationsPath + "/" + name, s.value}}
	alone := []operation{{"test", annotationsPath, nil}, {"add", annotationsPath, map[string]string{s.key: s.value}}}
	var forms [][]byte
	for _, more := range [][]operation{beside, alone, beside} {
		var operations []json.RawMessage
		if err := json.Unmarshal(body, &operations); err != nil {
			return nil, err
		}
		for _, operation := range more {
			raw, err := json.Marshal(operation)
			if err != nil {
				return nil, err
			}
			operations = append(operations, raw)
		}
		form, err := json.Marshal(operations)
		if err != nil {
			return nil, err
		}
		forms = append(forms, form)
	}
	return forms, nil
}
