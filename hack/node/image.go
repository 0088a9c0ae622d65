//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"runtime"
)

// The names of the images. The domain is reserved, so that no registry can have them.
const (
	pauseImage    = "registry.invalid/pause:1"
	operatorImage = "registry.invalid/operator:1"
)

// writeImage writes an image with one static program, as an archive that ctr can import.
// The arguments are those with which the program is called.
func writeImage(w io.Writer, tag string, program []byte, args ...string) error {
	var layer bytes.Buffer
	if err := writeTar(&layer, file{"program", 0o755, program}); err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		// runAsNonRoot needs the number of a user.
		"config": map[string]any{"Entrypoint": append([]string{"/program"}, args...), "User": "65532"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + sum(layer.Bytes())}},
	})
	if err != nil {
		return err
	}
	configFile := sum(config) + ".json"
	index, err := json.Marshal([]map[string]any{{"Config": configFile, "RepoTags": []string{tag}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	return writeTar(w, file{configFile, 0o644, config}, file{"layer.tar", 0o644, layer.Bytes()}, file{"manifest.json", 0o644, index})
}

type file struct {
	name    string
	mode    int64
	content []byte
}

func writeTar(w io.Writer, files ...file) error {
	archive := tar.NewWriter(w)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(f.content); err != nil {
			return err
		}
	}
	return errors.Join(archive.Flush(), archive.Close())
}

func sum(content []byte) string {
	digest := sha256.Sum256(content)
	return hex.EncodeToString(digest[:])
}
