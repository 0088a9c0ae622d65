package leaderelectiontest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// protobuf is the serializer for the protobuf encoding, which client-go's typed
// clients use by default.
var protobuf = func() runtime.SerializerInfo {
	info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), runtime.ContentTypeProtobuf)
	if !ok {
		panic("bug: client-go has no protobuf")
	}
	return info
}()

// acceptsProtobuf reports whether protobuf is the first media type in the
// Accept header.
func acceptsProtobuf(header http.Header) bool {
	first, _, _ := strings.Cut(header.Get("Accept"), ",")
	return strings.Contains(first, runtime.ContentTypeProtobuf)
}

// encode encodes object as JSON, or as protobuf if the client prefers protobuf.
func (c *call) encode(object runtime.Object) ([]byte, error) {
	if !c.protobuf {
		return json.Marshal(object)
	}
	var body bytes.Buffer
	err := protobuf.Serializer.Encode(object, &body)
	return body.Bytes(), err
}

func (c *call) mediaType() string {
	if c.protobuf {
		return runtime.ContentTypeProtobuf
	}
	return runtime.ContentTypeJSON
}

// encodeEvent encodes one watch event as JSON, or as protobuf if the client
// prefers protobuf.
func (c *call) encodeEvent(kind watch.EventType, object runtime.Object) ([]byte, error) {
	raw, err := c.encode(object)
	if err != nil {
		return nil, err
	}
	event := &metav1.WatchEvent{Type: string(kind), Object: runtime.RawExtension{Raw: raw}}
	if !c.protobuf {
		line, err := json.Marshal(event)
		return append(line, '\n'), err
	}
	var text, framed bytes.Buffer
	if err := protobuf.StreamSerializer.Serializer.Encode(event, &text); err != nil {
		return nil, err
	}
	_, err = protobuf.StreamSerializer.Framer.NewFrameWriter(&framed).Write(text.Bytes())
	return framed.Bytes(), err
}
