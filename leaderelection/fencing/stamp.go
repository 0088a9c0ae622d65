package fencing

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/haproxy-template-ic/incumbent/leaderelection"
)

const annotationPrefix = "fencing.incumbent.haproxy-template-ic.github.io/"

// maxAnnotationName is how long the part of an annotation's key after the slash
// may be.
const maxAnnotationName = 63

// AnnotationKey is the annotation that carries the token of a term of that Lease,
// which is given as a Term has it: its namespace and name, with a slash between
// them. Each Lease has its own: one object may be written by the leaders of
// several.
func AnnotationKey(lease string) string {
	name := []byte(lease)
	for i, c := range name {
		if c == '/' {
			name[i] = '.'
		}
	}
	if len(name) > maxAnnotationName {
		sum := sha256.Sum256(name)
		name = append(name[:maxAnnotationName-9:maxAnnotationName-9], "-"+hex.EncodeToString(sum[:4])...)
	}
	return annotationPrefix + string(name)
}

// Stamp is the annotation's value in that term: its token and, for those who read
// refusals, its leader.
func Stamp(term leaderelection.Term) string {
	return term.Token.String() + " " + term.Identity
}
