package leaderelectiontest

import (
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/kubernetes/scheme"
)

// readOptions are the parsed options of a get, list or watch request.
type readOptions struct {
	namespace         string
	fields            fields.Selector
	labels            labels.Selector
	resourceVersion   int64 // 0 if the request has no resourceVersion, or the resourceVersion "0"
	exact             bool
	bookmarks         bool
	sendInitialEvents *bool
	timeout           time.Duration
}

func parseReadOptions(c *call) (readOptions, error) {
	var list metav1.ListOptions
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&c.query, &list, nil); err != nil {
		return readOptions{}, apierrors.NewBadRequest(err.Error())
	}
	if err := checkMatch(c.Verb, &list); err != nil {
		return readOptions{}, err
	}
	o := readOptions{
		namespace: c.Namespace, bookmarks: list.AllowWatchBookmarks, sendInitialEvents: list.SendInitialEvents,
		exact: list.ResourceVersionMatch == metav1.ResourceVersionMatchExact,
	}
	if list.TimeoutSeconds != nil {
		o.timeout = time.Duration(*list.TimeoutSeconds) * time.Second
	}
	var err error
	if o.fields, err = fields.ParseAndTransformSelector(list.FieldSelector, knownField); err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	if o.labels, err = labels.Parse(list.LabelSelector); err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	if list.ResourceVersion != "" {
		version, err := strconv.ParseUint(list.ResourceVersion, 10, 63)
		if err != nil {
			return o, invalidListOption("resourceVersion", list.ResourceVersion, err.Error())
		}
		o.resourceVersion = int64(version)
	}
	return o, nil
}

// checkMatch returns an error if the request has a combination of options that
// a real API server refuses.
func checkMatch(verb string, list *metav1.ListOptions) error {
	match := list.ResourceVersionMatch
	switch {
	case verb != "watch" && list.SendInitialEvents != nil:
		return invalidListOption("sendInitialEvents", "true", "sendInitialEvents is forbidden for list")
	case verb != "watch" && match != "" && list.ResourceVersion == "":
		return invalidListOption("resourceVersionMatch", string(match), "resourceVersionMatch is forbidden unless resourceVersion is provided")
	case verb == "watch" && list.SendInitialEvents != nil && match != metav1.ResourceVersionMatchNotOlderThan:
		return invalidListOption("resourceVersionMatch", string(match), "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
	case verb == "watch" && list.SendInitialEvents == nil && match != "":
		return invalidListOption("resourceVersionMatch", string(match), "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
	}
	return nil
}

func invalidListOption(name, value, problem string) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "",
		field.ErrorList{field.Invalid(field.NewPath(name), value, problem)})
}

func knownField(label, value string) (string, string, error) {
	if label != "metadata.name" && label != "metadata.namespace" {
		return "", "", fmt.Errorf("%q is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", label)
	}
	return label, value, nil
}

func (o *readOptions) matches(lease *coordinationv1.Lease) bool {
	if lease == nil || (o.namespace != "" && o.namespace != lease.Namespace) {
		return false
	}
	return o.labels.Matches(labels.Set(lease.Labels)) &&
		o.fields.Matches(fields.Set{"metadata.name": lease.Name, "metadata.namespace": lease.Namespace})
}

// decodeInto decodes an object of the API group meta/v1 from JSON or protobuf.
func decodeInto(body []byte, into runtime.Object) error {
	_, _, err := metav1Decoder.Decode(body, nil, into)
	return err
}

var metav1Decoder = scheme.Codecs.UniversalDeserializer()
