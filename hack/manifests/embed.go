package manifests

import "embed"

// Files contains the YAML manifests of this folder. The command "kubectl lease manifests"
// prints these manifests with the names of the user's application instead of the example
// names.
//
//go:embed *.yaml
var Files embed.FS
