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

// into adds the annotation s to the body of a write, and returns the new body. For a
// JSON patch, into returns several forms of the new body, because the API server can
// apply only the form that suits the stored object. The caller sends the forms one
// after the other, until the API server applies a form.
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

// intoObject sets the annotation s in body, and changes no other field. body is a JSON
// object, or a patch of an object if isPatch is true. If a patch sets the field
// annotations to null, intoObject returns an error. Such a patch removes all
// annotations, and cannot add an annotation at the same time.
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

// intoProtobuf sets the annotation s in an object that is encoded as protobuf. It
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

// An operation is an element of a JSON patch, see RFC 6902. A nil Value is encoded as
// null. The operation "test" with the value null also passes if the field is missing.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// intoOperations returns three forms of a JSON patch. Each form also sets the
// annotation s. The first form adds one annotation, and fails if the stored object has
// no annotations. The second form adds a map that contains only the annotation s, and
// fails if the stored object has annotations. The third form equals the first form. It
// is needed if another client has added annotations after the first form has failed.
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
