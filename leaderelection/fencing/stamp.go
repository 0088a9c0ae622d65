package fencing

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

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
	name := strings.Replace(lease, "/", ".", 1)
	if len(name) > maxAnnotationName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxAnnotationName-9] + "-" + hex.EncodeToString(sum[:4])
	}
	return annotationPrefix + name
}

// A stamp is what an object that is written in a term carries.
type stamp struct{ key, value string }

// stampOf makes the stamp of a term: its token and, for those who read refusals,
// its leader.
func stampOf(term leaderelection.Term) stamp {
	return stamp{AnnotationKey(term.Lease), term.Token.String() + " " + term.Identity}
}
