package manifests

import "embed"

// Files contains the YAML manifests of this folder. "kubectl lease manifests" prints them
// with the names of the user's application.
//
//go:embed *.yaml
var Files embed.FS
