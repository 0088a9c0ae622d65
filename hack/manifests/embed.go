package manifests

import "embed"

// Files are the YAML manifests of this folder. "kubectl lease manifests" prints them
// with other names.
//
//go:embed *.yaml
var Files embed.FS
