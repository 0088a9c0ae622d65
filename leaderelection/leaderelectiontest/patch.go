package leaderelectiontest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"reflect"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (s *Server) patchLocked(c *call) (*coordinationv1.Lease, error) {
	old, err := s.getLocked(c.key())
	if err != nil {
		return nil, err
	}
	document, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	document, err = applyPatch(document, c)
	if err != nil {
		return nil, err
	}
	lease := &coordinationv1.Lease{}
	if err := json.Unmarshal(document, lease); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if lease.Name != c.Name {
		return nil, apierrors.NewBadRequest("the name of the object (" + lease.Name + ") does not match the name on the URL (" + c.Name + ")")
	}
	if lease.Namespace != c.Namespace {
		return nil, apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
	}
	if lease.UID != "" && lease.UID != old.UID {
		return nil, apierrors.NewInvalid(leaseKind, c.Name, field.ErrorList{
			field.Invalid(field.NewPath("metadata").Child("uid"), lease.UID, validation.FieldImmutableErrorMsg),
		})
	}
	lease.TypeMeta = metav1.TypeMeta{}
	result, _, err := s.updateLocked(c.by(), c.key(), lease)
	return result, err
}

func applyPatch(document []byte, c *call) ([]byte, error) {
	kind, _, _ := mime.ParseMediaType(c.contentType)
	var err error
	switch types.PatchType(kind) {
	case types.MergePatchType:
		document, err = mergePatch(document, c.body)
	case types.StrategicMergePatchType:
		document, err = strategicpatch.StrategicMergePatch(document, c.body, coordinationv1.Lease{})
	case types.JSONPatchType:
		document, err = jsonPatch(document, c.body)
		if err != nil {
			return nil, apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{field.Invalid(field.NewPath("patch"), string(c.body), err.Error())})
		}
	default:
		return nil, &apierrors.StatusError{ErrStatus: metav1.Status{
			Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType, Reason: metav1.StatusReasonUnsupportedMediaType,
			Message: fmt.Sprintf("leaderelectiontest does not serve patches of type %q", kind),
		}}
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return document, nil
}

// mergePatch applies a JSON merge patch (RFC 7396).
func mergePatch(document, patch []byte) ([]byte, error) {
	var target, change any
	if err := json.Unmarshal(document, &target); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(patch, &change); err != nil {
		return nil, err
	}
	return json.Marshal(merge(target, change))
}

func merge(target, change any) any {
	changes, ok := change.(map[string]any)
	if !ok {
		return change
	}
	object, ok := target.(map[string]any)
	if !ok {
		object = map[string]any{}
	}
	for key, value := range changes {
		if value == nil {
			delete(object, key)
			continue
		}
		object[key] = merge(object[key], value)
	}
	return object
}

// operation is one operation of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// jsonPatch applies a JSON patch (RFC 6902). It supports the operations add,
// replace, remove and test on members of objects, but not on elements of
// arrays.
func jsonPatch(document, patch []byte) ([]byte, error) {
	var target map[string]any
	if err := json.Unmarshal(document, &target); err != nil {
		return nil, err
	}
	var steps []operation
	if err := json.Unmarshal(patch, &steps); err != nil {
		return nil, err
	}
	for _, step := range steps {
		if err := step.apply(target); err != nil {
			return nil, err
		}
	}
	return json.Marshal(target)
}

func (o operation) apply(object map[string]any) error {
	path := strings.Split(strings.TrimPrefix(o.Path, "/"), "/")
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for _, part := range path[:len(path)-1] {
		next, ok := object[unescape.Replace(part)].(map[string]any)
		if !ok {
			return fmt.Errorf("%s operation does not apply: doc is missing path: %q", o.Op, o.Path)
		}
		object = next
	}
	member := unescape.Replace(path[len(path)-1])
	current, exists := object[member]
	switch {
	case o.Op == "add":
		object[member] = o.Value
	case o.Op == "test" && reflect.DeepEqual(current, o.Value):
	case o.Op == "test":
		return fmt.Errorf("testing value %s failed: test failed", o.Path)
	case o.Op == "replace" && exists:
		object[member] = o.Value
	case o.Op == "remove" && exists:
		delete(object, member)
	case o.Op == "replace", o.Op == "remove":
		return fmt.Errorf("%s operation does not apply: doc is missing key: %s", o.Op, o.Path)
	default:
		return fmt.Errorf("leaderelectiontest does not serve the operation %q", o.Op)
	}
	return nil
}
